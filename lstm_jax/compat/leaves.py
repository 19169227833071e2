"""Weights from elsewhere, checked leaf by leaf before any is used; what our cells share with theirs.

Between our parameters and each foreign layout stand `Weights`: the same few arrays for every cell, with two
biases. So a format is two functions, whatever the number of cells.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Params
from lstm_jax.support.registry import lookup

__all__ = ["LAYOUTS", "Layout", "Weights", "fit", "from_weights", "to_weights"]


class Layout(NamedTuple):
    """How a cell that others have too lies in arrays.

    Attributes:
      gates: names of its G gates in order, as flax abbreviates them; "" for the one of a simple network.
      apart: gates whose recurrent bias does not merge with the input's, for something is between the two.
      projected: whether the output is projected, by w_p [H, P].
    """

    gates: tuple[str, ...]
    apart: tuple[str, ...] = ()
    projected: bool = False


LAYOUTS = {
    "lstm": Layout(("i", "f", "g", "o")),
    "projected_lstm": Layout(("i", "f", "g", "o"), projected=True),
    "gru": Layout(("r", "z", "n"), apart=("n",)),
    "elman": Layout(("",)),
    "irnn": Layout(("",)),
}
"""The cells of this project with the equations, or some of the equations, of a cell of PyTorch or flax."""


class Weights(NamedTuple):
    """The weights of one layer, float32 NumPy arrays.

    Attributes:
      w_x: [D, G, H].
      w_h: [H, G, H], or [P, G, H] under a projection.
      b: [G, H], the input's bias and all of the recurrent one that merges with it.
      b_h: [G, H], the rest of the recurrent bias: zeros but for the gates that are `apart`.
      w_p: [H, P], or None.
    """

    w_x: np.ndarray
    w_h: np.ndarray
    b: np.ndarray
    b_h: np.ndarray
    w_p: np.ndarray | None = None


def fit(
    found: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]], source: str
) -> dict[str, np.ndarray]:
    """The arrays of `found` as float32, where names and shapes are exactly those of `wanted`.

    Args:
      found: name -> array.
      wanted: name -> shape.
      source: what the weights are, for messages, e.g. "torch LSTM".

    Raises:
      UserError: a leaf is missing, unknown, has another shape, or holds no floating-point numbers, or some
        that are not finite as float32; the message names it, and both shapes.
    """
    for name, shape in wanted.items():
        if name not in found:
            raise UserError(f"{source}: {name} is missing; it should have shape {shape}")
        if tuple(np.shape(found[name])) != shape:
            raise UserError(
                f"{source}: {name} has shape {tuple(np.shape(found[name]))}, and {shape} is needed; check "
                "the vocabulary, the widths and the cell"
            )
    unknown = [name for name in found if name not in wanted]
    if unknown:
        raise UserError(
            f"{source}: {unknown[0]}, of shape {tuple(np.shape(found[unknown[0]]))}, is not part of it; "
            f"allowed: {', '.join(wanted)}"
        )
    return {name: _float32(np.asarray(found[name]), f"{source}: {name}") for name in wanted}


def _float32(array: np.ndarray, name: str) -> np.ndarray:
    """The array as float32. Raises UserError as `fit`."""
    if not jnp.issubdtype(array.dtype, jnp.floating):  # bfloat16, which NumPy does not know, is one
        raise UserError(f"{name} is {array.dtype}; weights are floating-point numbers")
    with np.errstate(over="ignore"):
        cast = array.astype(np.float32)
    wrong = cast.size - np.count_nonzero(np.isfinite(cast))
    if wrong:
        raise UserError(f"{name} is {array.dtype}, and {wrong} of its {cast.size} are not finite as float32")
    return cast


def layout_of(cell: str, where: str) -> Layout:
    """The layout of the cell of that name; `where` is the other library, for the message of the UserError."""
    return lookup(LAYOUTS, cell, f"cell for {where}")


def to_weights(params: Mapping[str, Any], cell: str = "lstm") -> Weights:
    """One layer's parameters as `Weights`, frozen rows of the bias included.

    Args:
      params: of a cell of LAYOUTS.
      cell: its name.

    Raises:
      UserError: the parameters are not those of such a cell.
    """
    layout = layout_of(cell, "other libraries")
    gates, shape = len(layout.gates), tuple(np.shape(params.get("w_x", ())))
    if len(shape) != 3 or shape[1] != gates:
        raise UserError(
            f"w_x has shape {shape}; the parameters of the cell {cell!r} have w_x of shape [D, {gates}, H]"
        )
    hidden = shape[2]
    wanted: dict[str, tuple[int, ...]] = {"w_x": shape, "w_h": (hidden, gates, hidden), "b": (gates, hidden)}
    if layout.projected:
        width = np.shape(params.get("w_p", ()))[-1:] or (0,)
        wanted |= {"w_h": (*width, gates, hidden), "w_p": (hidden, *width)}
    if layout.apart:
        wanted["b_h"] = (hidden,)
    if "b_fixed" in params:
        wanted["b_fixed"] = (gates, hidden)
    leaves = fit(params, wanted, f"parameters of the cell {cell!r}")
    b_h = np.zeros((gates, hidden), np.float32)
    for gate in layout.apart:
        b_h[layout.gates.index(gate)] = leaves["b_h"]
    bias = leaves["b"] + leaves.get("b_fixed", np.float32(0))
    return Weights(leaves["w_x"], leaves["w_h"], bias, b_h, leaves.get("w_p"))


def from_weights(weights: Weights, cell: str = "lstm") -> Params:
    """One layer's parameters from `Weights` whose two biases may be anything: what merges is merged."""
    layout = layout_of(cell, "other libraries")
    apart = np.isin(layout.gates, layout.apart)[:, None]
    params = {"w_x": weights.w_x, "w_h": weights.w_h, "b": weights.b + np.where(apart, 0, weights.b_h)}
    for gate in layout.apart:
        params["b_h"] = weights.b_h[layout.gates.index(gate)]
    if weights.w_p is not None:
        params["w_p"] = weights.w_p
    return {name: np.ascontiguousarray(leaf, np.float32) for name, leaf in params.items()}
