"""A Cell called step by step, as the recurrent modules of flax call theirs."""

import jax
import numpy as np

from lstm_jax.cells.base import Carry, Cell
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params

__all__ = ["first_carry", "step"]


def step(cell: Cell, params: Params, carry: Carry, inputs: Array) -> tuple[Carry, Array]:
    """One step without draws (key None): carry of arrays [..., H], inputs [..., D] -> carry, y [..., H]."""
    batch = inputs.shape[:-1]
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[len(batch) :]), carry)
    seen, zs = cell.prepare(params, inputs.reshape(1, -1, inputs.shape[-1]), None)
    z = jax.tree.map(lambda leaf: leaf[0], zs)
    flat, y, _ = cell.update(seen, flat, z, cell.recur(seen, flat))
    return jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), (flat, cell.finish(seen, y)))


def first_carry(cell: Cell, params: Params, input_shape: tuple[int, ...], how: str) -> Carry:
    """The initial carry for inputs of shape (..., D), each leaf [..., H].

    Args:
      cell: the cell.
      params: its parameters, or {} where they are not at hand.
      input_shape: (..., D).
      how: the way to pass one, for the message.

    Raises:
      UserError: the cell learns its initial carry, and `params` do not have it.
    """
    batch = input_shape[:-1]
    try:
        flat = cell.carry(params, int(np.prod(batch)))
    except KeyError as missing:
        raise UserError(f"cell {cell.name!r} learns its initial carry {missing}: {how}") from None
    return jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), flat)
