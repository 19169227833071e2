"""Flax nnx: our weights to and from nnx's cells, and any Cell as an nnx RNN cell.

Weights are pure dicts of NumPy arrays. Load them with `state = nnx.state(module, nnx.Param);
nnx.replace_by_pure_dict(state, weights); nnx.update(module, state)`; read them with
`nnx.to_pure_dict(nnx.state(module, nnx.Param))`.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

from lstm_jax.cells.base import Carry, Cell
from lstm_jax.compat.leaves import LAYOUTS, Weights, fit, from_weights, to_weights
from lstm_jax.compat.linen import cell_from_linen, cell_to_linen
from lstm_jax.compat.stepwise import first_carry, step
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params
from lstm_jax.support.registry import lookup

__all__ = ["CELLS", "NnxCell", "cell_from_nnx", "cell_to_nnx"]

CELLS = {
    "OptimizedLSTMCell": "lstm",
    "LSTMCell": "lstm",
    "GRUCell": "gru",
    "SimpleCell": "elman",
}
"""nnx's cells, and ours with the same equations. A SimpleCell with activation_fn=nnx.relu is our irnn."""


def cell_to_nnx(params: Params, module: str = "OptimizedLSTMCell") -> dict[str, dict[str, np.ndarray]]:
    """The weights of an nnx cell: {dense_i: {kernel [D, G H]}, dense_h: {kernel [H, G H]}}, and one bias.

    The bias [G H] is in dense_h for the LSTM, else in dense_i. LSTMCell has eight modules, those of linen,
    `if` being `if_`.

    Args:
      params: of one layer.
      module: a name of CELLS.

    Raises:
      UserError: parameters of another cell, or a GRU whose recurrent bias is not zero: nnx has none.
    """
    cell = lookup(CELLS, module, "cell of nnx")
    if module == "LSTMCell":
        return {"if_" if name == "if" else name: leaf for name, leaf in cell_to_linen(params).items()}
    w = to_weights(params, cell)
    if np.any(w.b_h):
        raise UserError(
            f"b_h of shape {w.b_h[2].shape} is not zero, and nnx.GRUCell has no recurrent bias: there is no "
            "place for it; linen.GRUCell and torch.nn.GRU have one"
        )
    weights: dict[str, dict[str, np.ndarray]] = {
        "dense_i": {"kernel": w.w_x.reshape(len(w.w_x), -1)},
        "dense_h": {"kernel": w.w_h.reshape(len(w.w_h), -1)},
    }
    weights["dense_h" if cell == "lstm" else "dense_i"]["bias"] = w.b.reshape(-1)
    return weights


def cell_from_nnx(
    weights: Mapping[str, Any], *, input_dim: int, hidden: int, module: str = "OptimizedLSTMCell"
) -> Params:
    """One layer's parameters with D = `input_dim` and H = `hidden`, from what `cell_to_nnx` returns.

    Raises:
      UserError: a leaf is missing, unknown, or of another shape.
    """
    cell = lookup(CELLS, module, "cell of nnx")
    if module == "LSTMCell":
        renamed = {"if" if name == "if_" else name: leaf for name, leaf in weights.items()}
        return cell_from_linen(renamed, input_dim=input_dim, hidden=hidden)
    gates = len(LAYOUTS[cell].gates)
    biased = "dense_h" if cell == "lstm" else "dense_i"
    wanted = {
        "dense_i/kernel": (input_dim, gates * hidden),
        "dense_h/kernel": (hidden, gates * hidden),
        f"{biased}/bias": (gates * hidden,),
    }
    leaves = unflatten_dict(fit(flatten_dict(weights, sep="/"), wanted, f"nnx {module}"), sep="/")
    w_x, w_h = (leaves[dense]["kernel"].reshape(-1, gates, hidden) for dense in ("dense_i", "dense_h"))
    bias = leaves[biased]["bias"].reshape(gates, hidden)
    return from_weights(Weights(w_x, w_h, bias, np.zeros_like(bias)), cell)


class NnxCell(nnx.RNNCellBase):
    """A Cell as an nnx RNN cell: `nnx.RNN(NnxCell(cells.lstm(256), 64, rngs=nnx.Rngs(0)))`.

    Its state is {"weights": the params of the Cell, each an nnx.Param}. As `linen.LinenCell`, it is for use
    inside flax's models, not for speed, and runs without draws.

    Args:
      cell: any Cell.
      input_dim: D.
      rngs: the stream "params" draws the parameters.
    """

    def __init__(self, cell: Cell, input_dim: int, *, rngs: nnx.Rngs):
        self.cell = nnx.static(cell)
        self.weights = nnx.data(jax.tree.map(nnx.Param, dict(cell.init(rngs.params(), input_dim))))

    def _params(self) -> Params:
        return jax.tree.map(
            lambda leaf: leaf[...], self.weights, is_leaf=lambda leaf: isinstance(leaf, nnx.Param)
        )

    def __call__(self, carry: Carry, inputs: Array) -> tuple[Carry, Array]:
        """One step: carry of [..., H] arrays and inputs [..., D] -> carry, y [..., H]."""
        return step(self.cell, self._params(), carry, inputs)

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None
    ) -> Carry:
        """The cell's initial carry for inputs of shape (..., D); `rngs` and `carry_init` are not used."""
        return first_carry(self.cell, self._params(), input_shape, "its parameters lack it")

    @property
    def num_feature_axes(self) -> int:
        """One: D."""
        return 1
