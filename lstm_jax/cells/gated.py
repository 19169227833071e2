"""The frame that nearly every cell shares: one input projection, one recurrent product, one bias."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from lstm_jax.cells.base import Carry, Cell, Trace
from lstm_jax.cells.forget_bias import BiasRows, plain_rows
from lstm_jax.cells.initializers import Initializer, initializer
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params, Tree
from lstm_jax.support.rng import stream

__all__ = ["gated", "product", "split_gates", "units", "wide"]


def units(number: Any, what: str) -> int:
    """`number`; raises UserError, which names it by `what`, unless it is a positive whole number of units."""
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise UserError(f"{what} must be a positive whole number of units, not {number!r}")
    return number


def wide(dtype: Any) -> Any:
    """The dtype in which sums and cell states are kept beside a compute dtype: float32 at least."""
    return jnp.promote_types(dtype, jnp.float32)


def product(x: Array, w: Array, heads: int = 1) -> Array:
    """Returns x [..., D] @ w [D / heads, G, H] -> [..., G, H], one matmul accumulated in float32.

    Float64 stays float64. The reshapes move no data: the gate axis lies between D and H for this reason. With
    heads, the k-th H / heads units see the k-th D / heads inputs only.
    """
    if heads > 1:
        parts = x.reshape(*x.shape[:-1], heads, -1), w.reshape(*w.shape[:2], heads, -1)
        out = jnp.einsum("...kd,dgkh->...gkh", *parts, preferred_element_type=wide(x.dtype))
        return out.reshape(*x.shape[:-1], *w.shape[1:])
    out = jnp.dot(x, w.reshape(w.shape[0], -1), preferred_element_type=wide(x.dtype))
    return out.reshape(*x.shape[:-1], *w.shape[1:])


def split_gates(a: Array) -> list[Array]:
    """[B, G, H] -> G arrays [B, H].

    By one split of [B, G H], whose gradient is one concatenation: that of indexing, a[:, 1], is a padded
    copy of the whole for each gate (a few per cent at most of a layer's step on a CPU: experiments/LOG.md).
    """
    return jnp.split(a.reshape(a.shape[0], -1), a.shape[1], axis=-1)


def gated(
    name: str,
    hidden: int,
    gates: int,
    carry_type: Callable[..., Carry],
    update: Callable[[Params, Carry, Tree, Tree], tuple[Carry, Array, Trace]],
    *,
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    bias: BiasRows = plain_rows,
    extra: Callable[[Key, Initializer], Params] | None = None,
    source: int | None = None,
    on_input: Callable[[Params, Array], Array] | None = None,
    heads: int = 1,
) -> Cell:
    """A cell of G gates over z = x w_x + b and r = h w_h; `update` combines them.

    Args:
      name: as in CELLS, or from `activations.cell_name` for a cell with a choice of functions.
      hidden: H.
      gates: G.
      carry_type: a NamedTuple class with a field `h` (kept in `dtype`); its other fields are kept in float32.
      update: as in `Cell`; z and r are [B, G, H] float32. It sees `w_h` and the leaves of `extra`.
      init: initial weights, see `initializers.initializer`.
      dtype: compute dtype of the matmuls, of h and of y.
      bias: from `forget_bias.bias_rows` for a cell with a forget gate.
      extra: (key, initializer) -> further float32 leaves that `update` reads, e.g. peepholes [3, H]. Those
        named w_h_... are recurrent weights like `w_h`, which `recur` sees in `dtype`.
      source: rows of w_h, where the gates see something else than h and the cell brings its own `recur`;
        0: none, the gates see x only. None: H.
      on_input: (params, x w_x [T, B, G, H]) -> [T, B, G, H], e.g. a layer norm, before b is added.
      heads: parts of x and of the units that the input projection joins one to one: w_x is [D / heads, G, H].

    Raises:
      UserError: hidden is not a positive whole number, heads does not divide H (or, in `init`, D), or init is
        unknown.
    """
    units(hidden, f"{name}: hidden")
    if not isinstance(heads, int) or heads < 1 or hidden % heads:
        raise UserError(f"{name}: heads must be a whole number that divides hidden = {hidden}, not {heads!r}")
    draws = initializer(init)
    dtype = jnp.dtype(dtype)
    source = hidden if source is None else source
    consumed = {"w_x", "b", "b_fixed"}  # prepare uses them up: what update does not see needs no gradient

    def init_params(key: Key, input_dim: int) -> Params:
        if input_dim % heads:
            raise UserError(f"{name}: heads = {heads} does not divide its input's width D = {input_dim}")
        own = extra(stream(key, "extra"), draws) if extra else {}
        w_h = {"w_h": draws.w_h(stream(key, "w_h"), (source, gates, hidden))} if source else {}
        b = draws.b(stream(key, "b"), (gates, hidden))
        return {
            "w_x": draws.w_x(stream(key, "w_x"), (input_dim // heads, gates, hidden)),
            **w_h,
            **bias.init(stream(key, "forget_bias"), b),
            **own,
        }

    def carry(params: Params, batch: int) -> Carry:
        dtypes = {f: dtype if f == "h" else wide(dtype) for f in carry_type._fields}  # type: ignore[attr-defined]
        return carry_type(**{f: jnp.zeros((batch, hidden), kept) for f, kept in dtypes.items()})

    def prepare(params: Params, xs: Array, key: Key | None) -> tuple[Params, Array]:
        zs = product(xs.astype(dtype), params["w_x"].astype(dtype), heads)
        zs = (on_input(params, zs) if on_input else zs) + bias.read(params)
        kept = {leaf: value for leaf, value in params.items() if leaf not in consumed}
        return {leaf: v.astype(dtype) if leaf.startswith("w_h") else v for leaf, v in kept.items()}, zs

    def recur(params: Params, carry: Carry) -> Tree:
        return product(carry.h, params["w_h"]) if source else ()

    return Cell(name, hidden, init_params, carry, prepare, recur, update)
