"""Flax linen: our LSTM's weights to and from LSTMCell, and any Cell as a linen RNN cell."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from lstm_jax.cells.base import Carry, Cell
from lstm_jax.compat.leaves import fit, lstm_leaves
from lstm_jax.errors import UserError
from lstm_jax.notation import Array, Key, Params

__all__ = ["LinenCell", "lstm_from_linen", "lstm_to_linen"]

GATES = "ifgo"


def lstm_to_linen(params: Params) -> dict[str, dict[str, np.ndarray]]:
    """The params of `linen.LSTMCell(H)` and `OptimizedLSTMCell(H)`, which share one layout.

    Eight dicts: ii, if, ig, io {kernel [D, H]} and hi, hf, hg, ho {kernel [H, H], bias [H]}. Under
    `linen.RNN` they lie in {"cell": ...}.

    Raises:
      UserError: parameters of another cell.
    """
    w_x, w_h, bias = lstm_leaves(params)
    weights: dict[str, dict[str, np.ndarray]] = {}
    for index, gate in enumerate(GATES):
        weights["i" + gate] = {"kernel": w_x[:, index].copy()}
        weights["h" + gate] = {"kernel": w_h[:, index].copy(), "bias": bias[index].copy()}
    return weights


def lstm_from_linen(weights: Mapping[str, Any], *, input_dim: int, hidden: int) -> Params:
    """Parameters of `cells.lstm` from the params of a linen LSTMCell or OptimizedLSTMCell.

    Args:
      weights: as `lstm_to_linen` returns.
      input_dim: D.
      hidden: H.

    Raises:
      UserError: a leaf is missing, unknown, or of another shape.
    """
    wanted: dict[str, tuple[int, ...]] = {}
    for gate in GATES:
        wanted[f"i{gate}/kernel"] = (input_dim, hidden)
        wanted[f"h{gate}/kernel"] = (hidden, hidden)
        wanted[f"h{gate}/bias"] = (hidden,)
    leaves = unflatten_dict(fit(flatten_dict(weights, sep="/"), wanted, "linen LSTM"), sep="/")
    return {
        "w_x": np.stack([leaves["i" + gate]["kernel"] for gate in GATES], axis=1),
        "w_h": np.stack([leaves["h" + gate]["kernel"] for gate in GATES], axis=1),
        "b": np.stack([leaves["h" + gate]["bias"] for gate in GATES]),
    }


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
        cell, batch = self.cell, inputs.shape[:-1]
        params = self.param("cell", cell.init, inputs.shape[-1])
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[len(batch) :]), carry)
        seen, zs = cell.prepare(params, inputs.reshape(1, -1, inputs.shape[-1]), None)
        z = jax.tree.map(lambda leaf: leaf[0], zs)
        flat, y, _ = cell.update(seen, flat, z, cell.recur(seen, flat))
        return jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), (flat, cell.finish(seen, y)))

    @nn.nowrap
    def initialize_carry(self, rng: Key, input_shape: tuple[int, ...]) -> Carry:
        """The initial carry for inputs of shape `input_shape` = (..., D); `rng` is not used.

        Raises:
          UserError: the cell learns its initial state.
        """
        batch = input_shape[:-1]
        try:
            flat = self.cell.carry({}, int(np.prod(batch)))
        except KeyError as missing:
            raise UserError(
                f"cell {self.cell.name!r} learns its initial carry {missing}: pass initial_carry to linen.RNN"
            ) from None
        return jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), flat)

    @property
    def num_feature_axes(self) -> int:
        """One: D."""
        return 1
