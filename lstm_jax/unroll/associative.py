"""All steps in parallel, for cells whose memory is linear in itself: an associative scan (Blelloch 1990).

c_t = a_t c_{t-1} + b_t for all t at once, in about 2 log2(T) sweeps over [T, B, H] where the scan takes T
small steps. With decays a in [0, 1] nothing can overflow: no logarithms and no divisions. "auto" does not
choose it: on a CPU it is ahead of the scan in the forward pass only (experiments/LOG.md).
"""

from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.cells.base import Carry, Cell
from lstm_jax.support.notation import Array, Key, Params
from lstm_jax.unroll.base import Unrolled, where

__all__ = ["linear_recurrence", "run", "supports"]


def supports(cell: Cell, *, chunk: int = 0, **wanted: Any) -> str | None:
    """None for a cell with `affine`, else the reason why not; see `Backend.supports`."""
    if cell.affine is None:
        wrapper = f" under the wrapper {cell.wrappers[-1]!r}" if cell.wrappers else ""
        return (
            f"it needs gates that see the input alone and a memory linear in itself (min_lstm, min_gru), and "
            f"{cell.name!r} has not{wrapper}"
        )
    if chunk:
        return "it cannot recompute in chunks (chunk)"
    return None


@jax.custom_vjp
def linear_recurrence(decay: Array, entry: Array) -> Array:
    """c_t = decay_t c_{t-1} + entry_t from c_{-1} = 0, for all t: [T, ...], [T, ...] -> [T, ...].

    Its gradient is such a recurrence too, backwards in time: autodiff would go through every sweep.
    """

    def join(first: tuple[Array, Array], then: tuple[Array, Array]) -> tuple[Array, Array]:
        return first[0] * then[0], then[0] * first[1] + then[1]

    return jax.lax.associative_scan(join, (decay, entry))[1]


def _forward(decay: Array, entry: Array) -> tuple[Array, tuple[Array, Array]]:
    c = linear_recurrence(decay, entry)
    return c, (decay, c)


def _backward(saved: tuple[Array, Array], d_c: Array) -> tuple[Array, Array]:
    decay, c = saved
    nothing = jnp.zeros_like(c[:1])
    later = jnp.concatenate([decay[1:], nothing])
    d_entry = jnp.flip(linear_recurrence(jnp.flip(later, 0), jnp.flip(d_c, 0)), 0)
    return d_entry * jnp.concatenate([nothing, c[:-1]]), d_entry


linear_recurrence.defvjp(_forward, _backward)


def run(
    cell: Cell,
    params: Params,
    xs: Array,
    carry: Carry,
    *,
    key: Key | None = None,
    lengths: Array | None = None,
    resets: Array | None = None,
    unroll: int = 1,
    chunk: int = 0,
) -> Unrolled:
    """Runs the cell over xs [T, B, D], all steps in parallel; see `lstm_jax.unroll.unroll`.

    First the carry of every step by `cell.affine`, then `recur` and `update`, once for all steps, for what
    they give beside it. `unroll` changes nothing here.
    """
    assert cell.affine is not None  # `supports` has said so
    steps, batch = xs.shape[:2]
    start = cell.carry(params, batch)
    seen, zs = cell.prepare(params, xs, key)
    decay, entry = jax.vmap(cell.affine, (None, 0))(seen, zs)
    each = jax.vmap(where)
    if lengths is not None:  # past its end a sequence keeps what it has
        ended = jnp.arange(steps)[:, None] >= lengths
        resets = None if resets is None else resets & ~ended
        decay = each(ended, jax.tree.map(jnp.ones_like, decay), decay)
        entry = each(ended, jax.tree.map(jnp.zeros_like, entry), entry)
    if resets is not None:  # the step begins from `start`, whatever was before
        starts = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (steps, *leaf.shape)), start)
        entry = each(resets, jax.tree.map(lambda a, b, s: a * s + b, decay, entry, starts), entry)
        decay = each(resets, jax.tree.map(jnp.zeros_like, decay), decay)
    entry = jax.tree.map(lambda a, b, c: b.at[0].add(a[0] * c), decay, entry, carry)

    after = jax.tree.map(linear_recurrence, decay, entry)
    before = jax.tree.map(lambda c, all_c: jnp.concatenate([c[None], all_c[:-1]]), carry, after)
    if resets is not None:
        before = each(resets, starts, before)
    rs = jax.vmap(cell.recur, (None, 0))(seen, before)
    _, ys, trace = jax.vmap(cell.update, (None, 0, 0, 0))(seen, before, zs, rs)
    if lengths is not None:
        ys, trace = each(ended, jax.tree.map(jnp.zeros_like, (ys, trace)), (ys, trace))
    return Unrolled(jax.tree.map(lambda all_c: all_c[-1], after), cell.finish(seen, ys), trace)
