"""The reference backend: one `lax.scan` over time around the cell's recurrent product and gates."""

from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.cells.base import Carry, Cell, Trace
from lstm_jax.support.notation import Array, Key, Params, Tree
from lstm_jax.unroll.backward import scan_with_backward
from lstm_jax.unroll.base import Unrolled, where

__all__ = ["freezing", "in_chunks", "run", "supports"]


def supports(cell: Cell, **wanted: Any) -> str | None:
    """None: the scan serves every cell and every request."""
    return None


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
    """Scans the cell over xs [T, B, D]; see `lstm_jax.unroll.unroll`.

    The input projection and every random draw are done once, before the scan. A cell with `linear` has the
    hand-written backward of `lstm_jax.unroll.backward`, any other is differentiated by autodiff.
    """
    steps, batch = xs.shape[:2]
    start = cell.carry(params, batch)
    params, zs = cell.prepare(params, xs, key)
    if lengths is not None:
        ended = jnp.arange(steps)[:, None] >= lengths
        cell, zs = freezing(cell), (zs, ended)
        resets = None if resets is None else resets & ~ended
    one_window = scan_with_backward if cell.linear else _plain_scan

    def window(carry: Carry, inputs: Tree) -> tuple[Carry, tuple[Array, Trace]]:
        zs, resets = inputs
        return one_window(cell, params, start, carry, zs, resets, unroll=unroll)

    if 0 < chunk < steps:
        carry, (ys, trace) = in_chunks(window, carry, (zs, resets), steps, chunk)
    else:
        carry, (ys, trace) = window(carry, (zs, resets))
    return Unrolled(carry, cell.finish(params, ys), trace)


def freezing(cell: Cell) -> Cell:
    """The cell over inputs (z, ended): where `ended` [B], its carry stays and its outputs are zero.

    Written into `update`, so that every derivative of the scan knows of it without a word of its own.
    """

    def update(params: Params, carry: Carry, z: Tree, r: Tree) -> tuple[Carry, Array, Trace]:
        z, ended = z
        after, y, trace = cell.update(params, carry, z, r)
        y, trace = where(ended, jax.tree.map(jnp.zeros_like, (y, trace)), (y, trace))
        return where(ended, carry, after), y, trace

    return cell._replace(update=update)


def _plain_scan(
    cell: Cell, params: Params, start: Carry, carry: Carry, zs: Tree, resets: Array | None, *, unroll: int
) -> tuple[Carry, tuple[Array, Trace]]:
    """The scan as autodiff sees it."""

    def step(carry: Carry, inputs: Tree) -> tuple[Carry, tuple[Array, Trace]]:
        z, reset = inputs
        if reset is not None:
            carry = where(reset, start, carry)
        carry, y, trace = cell.update(params, carry, z, cell.recur(params, carry))
        return carry, (y, trace)

    return jax.lax.scan(step, carry, (zs, resets), unroll=unroll)


def in_chunks(
    window: Any, carry: Carry, inputs: Tree, steps: int, chunk: int, policy: Any = None
) -> tuple[Carry, Tree]:
    """`window` over chunks of time, each recomputed in the backward from the carry at its start.

    Kept for the backward: one carry a chunk and the inputs zs, instead of the carry and r of every step, and
    what `policy` (of jax.checkpoint_policies) names. The last chunk takes what does not divide.
    """
    recomputed = jax.checkpoint(window, prevent_cse=False, policy=policy)
    whole = steps - steps % chunk

    def head(leaf: Array) -> Array:
        return leaf[:whole].reshape(whole // chunk, chunk, *leaf.shape[1:])

    carry, outs = jax.lax.scan(recomputed, carry, jax.tree.map(head, inputs))
    outs = jax.tree.map(lambda leaf: leaf.reshape(whole, *leaf.shape[2:]), outs)
    if whole < steps:
        carry, rest = jax.checkpoint(window, policy=policy)(
            carry, jax.tree.map(lambda leaf: leaf[whole:], inputs)
        )
        outs = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), outs, rest)
    return carry, outs
