"""The Jacobian of one step with respect to the carry: its form, and linear recurrences with such matrices.

A carry of n arrays [B, H] whose units meet nobody but themselves has a Jacobian of H blocks n by n ("units";
with n = 1 it is diagonal). Any other carry of N numbers a sequence has one matrix N by N ("dense"). Both are
arrays [n, n, B, U] here, over U = H units or U = 1, so that one recurrence serves both.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.cells.base import Carry, Cell
from lstm_jax.support.notation import Array, Params
from lstm_jax.unroll.pointwise import inner_jaxpr
from lstm_jax.unroll.smooth import is_smooth

__all__ = ["FORMS", "MOST_DENSE", "Packing", "form_of", "packing", "recurrence", "with_diagonal_product"]

FORMS = ("units", "dense", "quasi")
"""Forms of the Jacobian: exact blocks of a unit, one exact matrix a sequence, and the blocks of a unit taken
out of a dense matrix (quasi-Newton, Gonzalez et al. 2024: more iterations, each far cheaper)."""
MOST_DENSE = 64
"""Numbers in a sequence's carry up to which the dense form is taken: a step stores their square, and the
recurrence multiplies such matrices."""
_UNROLLED = 8
_LOCAL = {"mul", "add", "add_any", "sub", "neg", "convert_element_type", "copy", "broadcast_in_dim"}
_LOCAL |= {"stop_gradient", "select_n", "squeeze", "expand_dims"}


def form_of(cell: Cell) -> str | None:
    """The form of FORMS that the cell's Jacobian has, from its jaxpr; None where no form serves.

    "units" where `update` is pointwise and `recur` multiplies each unit by its own weights only. "dense" up
    to MOST_DENSE numbers; beyond, "quasi" for a pointwise cell with a linear recurrent product.
    """

    def shapes() -> tuple[Params, Carry]:
        params = cell.init(jax.random.key(0), cell.output_dim)
        seen, _ = cell.prepare(params, jnp.zeros((1, 1, cell.output_dim)), None)
        return seen, cell.carry(params, 1)

    params, carry = jax.eval_shape(shapes)
    leaves = jax.tree.leaves(carry)
    if not all(is_smooth(leaf) for leaf in leaves):
        return None
    even = len({leaf.shape for leaf in leaves}) == 1 and leaves[0].ndim == 2
    if even and cell.pointwise and _is_local(jax.make_jaxpr(cell.recur)(params, carry).jaxpr):
        return "units"
    if sum(math.prod(leaf.shape[1:]) for leaf in leaves) <= MOST_DENSE:
        return "dense"
    return "quasi" if even and cell.pointwise and cell.linear else None


def _is_local(jaxpr: Any) -> bool:
    """Whether every equation treats the last axis, that of the units, elementwise."""
    for eqn in jaxpr.eqns:
        inner = inner_jaxpr(eqn)
        if inner is not None:
            if not _is_local(inner[0]):
                return False
            continue
        if eqn.primitive.name not in _LOCAL:
            return False
        operand, out = eqn.invars[0].aval, eqn.outvars[0].aval
        if operand.ndim and out.ndim and operand.shape[-1] not in (1, out.shape[-1]):
            return False
        aligned = eqn.params.get("broadcast_dimensions", (out.ndim - 1,))
        if operand.ndim and aligned[-1] != out.ndim - 1:
            return False
    return True


class Packing(NamedTuple):
    """A carry as one array, in a float dtype of at least 32 bits.

    Attributes:
      pack: carry -> [n, B, U].
      unpack: [n, B, U] -> carry, in the dtype of the array.
    """

    pack: Callable[[Carry], Array]
    unpack: Callable[[Array], Carry]


def packing(carry: Carry, form: str) -> Packing:
    """How a carry like this one, of arrays [B, ...] or their shapes, is packed for a form of FORMS."""
    leaves, structure = jax.tree.flatten(carry)
    dtype = jnp.result_type(jnp.float32, *(leaf.dtype for leaf in leaves))
    if form != "dense":
        return Packing(
            lambda carry: jnp.stack([leaf.astype(dtype) for leaf in jax.tree.leaves(carry)]),
            lambda packed: jax.tree.unflatten(structure, list(packed)),
        )
    sizes = [math.prod(leaf.shape[1:]) for leaf in leaves]
    ends = [sum(sizes[: k + 1]) for k in range(len(sizes) - 1)]

    def pack(carry: Carry) -> Array:
        flat = [leaf.astype(dtype).reshape(leaf.shape[0], -1).T for leaf in jax.tree.leaves(carry)]
        return jnp.concatenate(flat)[..., None]

    def unpack(packed: Array) -> Carry:
        parts = jnp.split(packed[..., 0], ends)
        shaped = [part.T.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
        return jax.tree.unflatten(structure, shaped)

    return Packing(pack, unpack)


def with_diagonal_product(cell: Cell, params: Params, carry: Carry) -> Cell:
    """The cell with the same `recur`, whose derivative sees each unit's own recurrent weight only.

    For a cell with `linear` and `pointwise`, whose carry is arrays [B, H]: the Jacobian of its step is then
    of the form "units".
    """
    leaves, structure = jax.tree.flatten(carry)
    hidden = leaves[0].shape[-1]

    def response(place: int) -> Any:
        """What unit j of r gets from unit j of this leaf, each alone at 1: like r."""

        def of_row(row: Array) -> Any:
            alone = [jnp.zeros_like(leaf) for leaf in leaves]
            alone[place] = jnp.broadcast_to(row, leaves[place].shape).astype(leaves[place].dtype)
            return cell.recur(params, jax.tree.unflatten(structure, alone))

        rows = jax.vmap(of_row)(jnp.eye(hidden))
        return jax.tree.map(lambda r: jnp.moveaxis(jnp.diagonal(r, axis1=0, axis2=-1), -1, -1), rows)

    responses = [response(place) for place in range(len(leaves))]

    def recur(seen: Params, carry: Carry) -> Any:
        r = jax.lax.stop_gradient(cell.recur(seen, carry))
        for leaf, own in zip(jax.tree.leaves(carry), responses, strict=True):
            nothing = leaf - jax.lax.stop_gradient(leaf)  # its value is 0 and its derivative 1

            def add(value: Array, factor: Array, nothing: Array = nothing) -> Array:
                shape = (nothing.shape[0],) + (1,) * (value.ndim - 2) + nothing.shape[1:]
                return value + factor * nothing.reshape(shape)

            r = jax.tree.map(add, r, own)
        return r

    return cell._replace(recur=recur)


def _matrix_product(a: Array, b: Array) -> Array:
    """[T, n, n, B, U] times [T, n, m, B, U]; small ones as sums, which XLA fuses with what is around them."""
    size = a.shape[2]
    if size > _UNROLLED:
        return jnp.einsum("tikbu,tkjbu->tijbu", a, b)
    terms = [a[:, :, k, None] * b[:, k, None] for k in range(size)]
    return sum(terms[1:], terms[0])


def recurrence(jacobians: Array, entries: Array) -> Array:
    """d_t = J_t d_{t-1} + e_t from d_{-1} = 0 for all t: [T, n, n, B, U], [T, n, B, U] -> [T, n, B, U]."""

    def join(first: tuple[Array, Array], then: tuple[Array, Array]) -> tuple[Array, Array]:
        (a, x), (b, y) = first, then
        return _matrix_product(b, a), _matrix_product(b, x) + y

    return jax.lax.associative_scan(join, (jacobians, entries[:, :, None]))[1][:, :, 0]
