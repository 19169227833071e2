"""Flax nnx: our LSTM's weights to and from nnx.OptimizedLSTMCell, as pure dicts of NumPy arrays.

Load with `state = nnx.state(module, nnx.Param); nnx.replace_by_pure_dict(state, weights);
nnx.update(module, state)`; read with `nnx.to_pure_dict(nnx.state(module, nnx.Param))`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from lstm_jax.compat.leaves import fit, lstm_leaves
from lstm_jax.notation import Params

__all__ = ["lstm_from_nnx", "lstm_to_nnx"]


def lstm_to_nnx(params: Params) -> dict[str, dict[str, np.ndarray]]:
    """Returns {dense_i: {kernel [D, 4H]}, dense_h: {kernel [H, 4H], bias [4H]}}.

    Raises:
      UserError: parameters of another cell.
    """
    w_x, w_h, bias = lstm_leaves(params)
    return {
        "dense_i": {"kernel": w_x.reshape(len(w_x), -1)},
        "dense_h": {"kernel": w_h.reshape(len(w_h), -1), "bias": bias.reshape(-1)},
    }


def lstm_from_nnx(weights: Mapping[str, Any], *, input_dim: int, hidden: int) -> Params:
    """Parameters of `cells.lstm` with D = `input_dim` and H = `hidden`, from what `lstm_to_nnx` returns.

    Raises:
      UserError: a leaf is missing, unknown, or of another shape.
    """
    wanted = {
        "dense_i/kernel": (input_dim, 4 * hidden),
        "dense_h/kernel": (hidden, 4 * hidden),
        "dense_h/bias": (4 * hidden,),
    }
    leaves = fit(flatten_dict(weights, sep="/"), wanted, "nnx LSTM")
    return {
        "w_x": leaves["dense_i/kernel"].reshape(-1, 4, hidden),
        "w_h": leaves["dense_h/kernel"].reshape(-1, 4, hidden),
        "b": leaves["dense_h/bias"].reshape(4, hidden),
    }
