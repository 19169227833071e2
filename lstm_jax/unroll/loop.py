"""The oracle: a Python loop over time, differentiated by autodiff. Slow to compile, easy to believe."""

from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.cells.base import Carry, Cell
from lstm_jax.support.notation import Array, Key, Params
from lstm_jax.unroll.base import Unrolled, where

__all__ = ["run", "supports"]


def supports(cell: Cell, **wanted: Any) -> str | None:
    """None: the loop serves every cell and every request (`unroll` and `chunk` change nothing here)."""
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
    """Steps the cell through xs [T, B, D], one step at a time; see `lstm_jax.unroll.unroll`."""
    start = cell.carry(params, xs.shape[1])
    stepped, zs = cell.prepare(params, xs, key)
    ys, traces = [], []
    for t in range(xs.shape[0]):
        before = carry
        if resets is not None:
            carry = where(resets[t], start, carry)
        z = jax.tree.map(lambda leaf, t=t: leaf[t], zs)
        carry, y, trace = cell.update(stepped, carry, z, cell.recur(stepped, carry))
        if lengths is not None:
            ended = t >= lengths
            carry = where(ended, before, carry)
            y, trace = where(ended, jax.tree.map(jnp.zeros_like, (y, trace)), (y, trace))
        ys.append(y)
        traces.append(trace)
    ys, trace = jax.tree.map(lambda *steps: jnp.stack(steps), *zip(ys, traces, strict=True))
    return Unrolled(carry, cell.finish(stepped, ys), trace)
