"""The one matrix product inside a cell's `recur`, taken apart: r = (a leaf of the carry) @ weight."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from lstm_jax.cells.base import Carry, Cell
from lstm_jax.support.notation import Array, Params
from lstm_jax.unroll.pointwise import STRUCTURAL, Refused, inner_jaxpr

__all__ = ["Product", "recurrent_product"]


class Product(NamedTuple):
    """What `recur` multiplies.

    Attributes:
      source: the index of the carry's leaf [B, H] that is multiplied.
      weight: [H, R, H], for the R numbers that a unit has in the leaves of r.
      exact: whether float32 is to be multiplied as such, not as tf32, which JAX's default precision allows.
    """

    source: int
    weight: Array
    exact: bool


class _Leaf(NamedTuple):
    """A leaf of the carry, as it is."""

    place: int


class _Columns(NamedTuple):
    """Columns of a product, by their index: what became of [1, N] in reshapes and the like."""

    source: int
    weight: Array
    exact: bool
    columns: np.ndarray


def recurrent_product(cell: Cell, params: Params, carry: Carry) -> Product:
    """Finds the product in the jaxpr of `cell.recur`.

    Args:
      cell: a cell.
      params: what `prepare` returned.
      carry: arrays or shapes.

    Raises:
      Refused: `recur` is something else than one product of a leaf of the carry, its columns moved about.
    """
    shapes = [jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype) for leaf in jax.tree.leaves(carry)]
    one = jax.tree.unflatten(jax.tree.structure(carry), shapes)
    closed = jax.make_jaxpr(cell.recur)(params, one)
    leaves = [_Leaf(index) for index in range(len(shapes))]
    outs = _evaluate(closed.jaxpr, closed.consts, [*jax.tree.leaves(params), *leaves])
    if not outs or any(not isinstance(out, _Columns) for out in outs):
        raise Refused(f"it needs a recurrent product of the carry, and {cell.name!r} has none")
    if any(out.weight is not outs[0].weight for out in outs):
        raise Refused(f"it serves one recurrent product, and {cell.name!r} has several")
    source, weight = outs[0].source, outs[0].weight
    hidden = shapes[source].shape[-1]
    if any(out.columns.shape[-1] != hidden for out in outs) or weight.shape[0] != hidden:
        raise Refused(f"it needs a recurrent product from units to units, and that of {cell.name!r} is not")
    if weight.dtype != shapes[source].dtype or weight.dtype not in (jnp.float32, jnp.bfloat16):
        raise Refused(
            f"it serves products in float32 or bfloat16, not of {shapes[source].dtype} and {weight.dtype}"
        )
    index = np.concatenate([out.columns.reshape(-1, hidden) for out in outs])
    if index.size != weight.shape[1] or np.any(index.ravel() != np.arange(index.size)):
        weight = jnp.take(weight, index.ravel(), axis=1)
    return Product(source, weight.reshape(hidden, -1, hidden), outs[0].exact)


def _evaluate(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    env = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))

    def read(var: Any) -> Any:
        return var.val if isinstance(var, Literal) else env[var]

    for eqn in jaxpr.eqns:
        values = [read(var) for var in eqn.invars]
        inner = inner_jaxpr(eqn)
        if inner is not None:
            outs = _evaluate(*inner, values)
        elif not any(isinstance(value, _Leaf | _Columns) for value in values):
            outs = eqn.primitive.bind(*values, **eqn.params)
            outs = outs if eqn.primitive.multiple_results else [outs]
        else:
            outs = _step(eqn, values)
        env.update(zip(eqn.outvars, outs, strict=True))
    return [read(var) for var in jaxpr.outvars]


def _step(eqn: Any, values: list[Any]) -> list[Any]:
    name, first = eqn.primitive.name, values[0]
    if (
        name == "dot_general"
        and isinstance(first, _Leaf)
        and not isinstance(values[1], _Leaf | _Columns)
        and eqn.params["dimension_numbers"] == (((1,), (0,)), ((), ()))
        and values[1].ndim == 2
    ):
        exact = any(name in str(eqn.params["precision"]).upper() for name in ("HIGHEST", "X3", "F32_F32_F32"))
        return [_Columns(first.place, values[1], exact, np.arange(values[1].shape[1])[None])]
    if name == "convert_element_type" and (
        isinstance(first, _Columns) or eqn.invars[0].aval.dtype == eqn.params["new_dtype"]
    ):
        return [first]
    if name in STRUCTURAL and name != "pad" and all(_same_product(value, first) for value in values):
        moved = STRUCTURAL[name](*(value.columns for value in values), eqn.params)
        return [first._replace(columns=part) for part in (moved if isinstance(moved, list) else [moved])]
    raise Refused(f"it serves a recurrent product alone, and this cell's has {name!r} beside it")


def _same_product(one: Any, two: Any) -> bool:
    return isinstance(one, _Columns) and isinstance(two, _Columns) and one.weight is two.weight
