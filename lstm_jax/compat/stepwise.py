"""A Cell called step by step, as the recurrent modules of flax call theirs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.cells.base import Carry, Cell
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params

__all__ = ["first_carry", "step"]


def step(cell: Cell, params: Params, carry: Carry, inputs: Array) -> tuple[Carry, Array]:
    """Makes one step without draws (key None).

    Args:
      cell: the cell.
      params: its parameters.
      carry: of arrays [..., H]; a plain tuple of its fields in order, as flax's (c, h), will do.
      inputs: [..., D] real numbers.

    Returns:
      (carry of the type that was given, y [..., H]).

    Raises:
      UserError: inputs are complex, or the tuple has another number of fields.
    """
    if jnp.iscomplexobj(inputs):
        raise UserError(
            f"inputs are {inputs.dtype}: a cell takes real numbers; pass real and imaginary parts as features"
        )
    batch = inputs.shape[:-1]
    plain = type(carry) is tuple
    if plain and (own := _carry_type(cell, params)) is not tuple:
        if len(carry) != len(own._fields):
            raise UserError(
                f"the carry of cell {cell.name!r} is ({', '.join(own._fields)}), not {len(carry)} arrays"
            )
        carry = own(*carry)
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[len(batch) :]), carry)
    seen, zs = cell.prepare(params, inputs.reshape(1, -1, inputs.shape[-1]), None)
    z = jax.tree.map(lambda leaf: leaf[0], zs)
    flat, y, _ = cell.update(seen, flat, z, cell.recur(seen, flat))
    after = tuple(flat) if plain else flat
    return jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), (after, cell.finish(seen, y)))


def _carry_type(cell: Cell, params: Params) -> Any:
    """The NamedTuple of the cell's carry; `tuple` where it has none."""
    own = jax.eval_shape(lambda: cell.carry(params, 1))
    return type(own) if hasattr(own, "_fields") else tuple


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
