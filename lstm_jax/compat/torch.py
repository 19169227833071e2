"""The weights of our LSTM layers as the state dict of a torch.nn.LSTM, and back, in NumPy.

Torch is not imported: `model.load_state_dict({k: torch.tensor(v) for k, v in to_torch(layers).items()})`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm_jax.compat.leaves import fit, lstm_leaves
from lstm_jax.errors import UserError
from lstm_jax.notation import Params

__all__ = ["lstm_from_torch", "lstm_to_torch"]


def lstm_to_torch(layers: Sequence[Params]) -> dict[str, np.ndarray]:
    """The state dict of `torch.nn.LSTM(D, H, len(layers))`.

    weight_ih_lK [4H, D], weight_hh_lK [4H, H], bias_ih_lK [4H] = b, and bias_hh_lK = 0, since torch adds two
    biases. Note that plain SGD then moves torch's sum of biases twice as fast as our one.

    Args:
      layers: parameters of `cells.lstm`, one a layer, from the input up; all of the same H.

    Raises:
      UserError: parameters of another cell, or layers that differ in H.
    """
    state = {}
    sizes = []
    for layer, params in enumerate(layers):
        w_x, w_h, bias = lstm_leaves(params)
        sizes.append(w_h.shape[2])
        state[f"weight_ih_l{layer}"] = np.ascontiguousarray(w_x.reshape(len(w_x), -1).T)
        state[f"weight_hh_l{layer}"] = np.ascontiguousarray(w_h.reshape(len(w_h), -1).T)
        state[f"bias_ih_l{layer}"] = bias.reshape(-1)
        state[f"bias_hh_l{layer}"] = np.zeros_like(bias.reshape(-1))
    if len(set(sizes)) > 1:
        raise UserError(f"torch.nn.LSTM has one hidden size, these layers {sizes}: convert them one by one")
    return state


def lstm_from_torch(
    state: Mapping[str, Any], *, input_dim: int, hidden: int, layers: int = 1
) -> tuple[Params, ...]:
    """Parameters of `cells.lstm`, one dict a layer, from the state dict of a torch.nn.LSTM.

    Args:
      state: name -> array; torch tensors on the CPU serve as they are.
      input_dim: D of the first layer.
      hidden: H.
      layers: L.

    Raises:
      UserError: a leaf is missing, unknown (a projection, a reverse direction), or of another shape.
    """
    wanted: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        wanted[f"weight_ih_l{layer}"] = (4 * hidden, input_dim if layer == 0 else hidden)
        wanted[f"weight_hh_l{layer}"] = (4 * hidden, hidden)
        wanted[f"bias_ih_l{layer}"] = (4 * hidden,)
        wanted[f"bias_hh_l{layer}"] = (4 * hidden,)
    leaves = fit(state, wanted, "torch LSTM")
    return tuple(
        {
            "w_x": np.ascontiguousarray(leaves[f"weight_ih_l{layer}"].T).reshape(-1, 4, hidden),
            "w_h": np.ascontiguousarray(leaves[f"weight_hh_l{layer}"].T).reshape(-1, 4, hidden),
            "b": (leaves[f"bias_ih_l{layer}"] + leaves[f"bias_hh_l{layer}"]).reshape(4, hidden),
        }
        for layer in range(layers)
    )
