"""Flax linen: our weights to and from linen's cells, and any Cell as a linen RNN cell."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from lstm_jax.cells.base import Carry, Cell
from lstm_jax.compat.leaves import LAYOUTS, Weights, fit, from_weights, to_weights
from lstm_jax.compat.stepwise import first_carry, step
from lstm_jax.support.notation import Array, Key, Params
from lstm_jax.support.registry import check_name

__all__ = ["CELLS", "LinenCell", "cell_from_linen", "cell_to_linen"]

CELLS = {"lstm": "LSTMCell", "gru": "GRUCell", "elman": "SimpleCell", "irnn": "SimpleCell"}
"""The linen cell of each; OptimizedLSTMCell has LSTMCell's layout. For irnn: activation_fn=nn.relu."""


def _biased(cell: str) -> set[str]:
    """The Dense modules with a bias: linen has one a gate, and two where they do not merge."""
    layout = LAYOUTS[cell]
    side = "h" if cell == "lstm" else "i"
    return {side + gate for gate in layout.gates} | {"h" + gate for gate in layout.apart}


def cell_to_linen(params: Params, cell: str = "lstm") -> dict[str, dict[str, np.ndarray]]:
    """The params of `linen.LSTMCell(H)` (and OptimizedLSTMCell), or of another of CELLS.

    For each gate, e.g. f: if {kernel [D, H]} and hf {kernel [H, H], bias [H]}; of GRUCell and SimpleCell the
    bias is on the input's side, and the candidate hn has one too. Under `linen.RNN` all is in {"cell": ...}.

    Raises:
      UserError: parameters of another cell, or a cell that linen does not have.
    """
    check_name(cell, CELLS, "cell for linen")
    w, biased = to_weights(params, cell), _biased(cell)
    weights: dict[str, dict[str, np.ndarray]] = {}
    for index, gate in enumerate(LAYOUTS[cell].gates):
        sides = {"i": (w.w_x, w.b), "h": (w.w_h, w.b if cell == "lstm" else w.b_h)}
        for side, (kernel, bias) in sides.items():
            weights[side + gate] = {"kernel": kernel[:, index].copy()}
            if side + gate in biased:
                weights[side + gate]["bias"] = bias[index].copy()
    return weights


def cell_from_linen(weights: Mapping[str, Any], *, input_dim: int, hidden: int, cell: str = "lstm") -> Params:
    """One layer's parameters from the params of a linen cell.

    Args:
      weights: as `cell_to_linen` returns.
      input_dim: D.
      hidden: H.
      cell: a name of CELLS.

    Raises:
      UserError: a leaf is missing, unknown, or of another shape.
    """
    check_name(cell, CELLS, "cell for linen")
    gates = LAYOUTS[cell].gates
    wanted: dict[str, tuple[int, ...]] = {}
    for gate in gates:
        wanted[f"i{gate}/kernel"] = (input_dim, hidden)
        wanted[f"h{gate}/kernel"] = (hidden, hidden)
    wanted |= {f"{name}/bias": (hidden,) for name in sorted(_biased(cell))}
    source = f"linen {CELLS[cell]}"
    leaves = unflatten_dict(fit(flatten_dict(weights, sep="/"), wanted, source), sep="/")
    none = np.zeros(hidden, np.float32)
    kernels = [np.stack([leaves[side + gate]["kernel"] for gate in gates], axis=1) for side in "ih"]
    biases = [np.stack([leaves[side + gate].get("bias", none) for gate in gates]) for side in "ih"]
    return from_weights(Weights(*kernels, *biases), cell)


class LinenCell(nn.RNNCellBase):
    """A Cell as a linen RNN cell: `linen.RNN(LinenCell(cells.lstm(256)))`.

    Its params are {"cell": the params of the Cell}. It is for use inside flax models, not for speed: linen
    calls the cell step by step, so the input projection is not hoisted, and a cell's random draws are made a
    window at a time, so it runs without them (key None): weight drop and zoneout are as in evaluation.
    Leaves ending in `_fixed` get no gradient; mask them from weight decay with `pytrees.trainable`.

    Attributes:
      cell: any Cell whose initial carry does not depend on its parameters.
    """

    cell: Cell

    @nn.compact
    def __call__(self, carry: Carry, inputs: Array) -> tuple[Carry, Array]:
        """One step: carry of [..., H] arrays and inputs [..., D] -> carry, y [..., H]."""
        return step(self.cell, self.param("cell", self.cell.init, inputs.shape[-1]), carry, inputs)

    @nn.nowrap
    def initialize_carry(self, rng: Key, input_shape: tuple[int, ...]) -> Carry:
        """The initial carry for inputs of shape `input_shape` = (..., D); `rng` is not used.

        Raises:
          UserError: the cell learns its initial state.
        """
        return first_carry(self.cell, {}, input_shape, "pass initial_carry to linen.RNN")

    @property
    def num_feature_axes(self) -> int:
        """One: D."""
        return 1
