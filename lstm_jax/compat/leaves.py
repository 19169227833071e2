"""Weights from elsewhere, checked leaf by leaf before any is used."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_jax.errors import UserError

__all__ = ["fit", "lstm_leaves"]


def fit(
    found: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]], source: str
) -> dict[str, np.ndarray]:
    """The arrays of `found` as float32, where names and shapes are exactly those of `wanted`.

    Args:
      found: name -> array.
      wanted: name -> shape.
      source: what the weights are, for messages, e.g. "torch LSTM".

    Raises:
      UserError: a leaf is missing, unknown, or has another shape; the message names it and both shapes.
    """
    for name, shape in wanted.items():
        if name not in found:
            raise UserError(f"{source}: {name} is missing; it should have shape {shape}")
        if np.shape(found[name]) != shape:
            raise UserError(
                f"{source}: {name} has shape {np.shape(found[name])}, this LSTM needs {shape}; check D and H"
            )
    unknown = [name for name in found if name not in wanted]
    if unknown:
        raise UserError(f"{source}: {unknown[0]} is not part of this LSTM; allowed: {', '.join(wanted)}")
    return {name: np.asarray(found[name]).astype(np.float32) for name in wanted}


def lstm_leaves(params: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """w_x [D, 4, H], w_h [H, 4, H] and the whole bias [4, H], frozen rows included, as NumPy arrays.

    Raises:
      UserError: the parameters are not those of `cells.lstm`.
    """
    shape = np.shape(params.get("w_x", ()))
    if len(shape) != 3 or shape[1] != 4:
        raise UserError(f"w_x has shape {shape}; the parameters of an LSTM have w_x of shape [D, 4, H]")
    wanted = {"w_x": shape, "w_h": (shape[2], 4, shape[2]), "b": (4, shape[2])}
    if "b_fixed" in params:
        wanted["b_fixed"] = (4, shape[2])
    leaves = fit(params, wanted, "LSTM parameters")
    bias = leaves["b"] + leaves.get("b_fixed", np.float32(0))
    return leaves["w_x"], leaves["w_h"], bias
