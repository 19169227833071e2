"""What a backend is, and what every unroll returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.cells.base import Carry, Trace
from lstm_jax.support.notation import Array, Tree

__all__ = ["Backend", "Unrolled", "where"]


class Unrolled(NamedTuple):
    """What T steps of a cell give.

    Attributes:
      carry: the carry after the last step (after each sequence's own last step, with lengths).
      ys: [T, B, H] outputs, zero past a sequence's length.
      trace: name -> [T, B, H], the gates and states of each step, zero past a sequence's length; left
        unused it costs nothing under jit. Empty from a backend that has none (cudnn).
    """

    carry: Carry
    ys: Array
    trace: Trace


class Backend(NamedTuple):
    """One way to run a cell over time.

    Attributes:
      run: (cell, params, xs [T, B, D], carry, *, key, lengths, resets, unroll, chunk) -> Unrolled.
        The carry is given, never None; the arguments have been checked by `lstm_jax.unroll.unroll`.
      supports: (cell, *, lengths, resets, trace, chunk, vmapped, platform) -> None where this backend
        serves, else the reason why not, as a clause ("it ..."). `lengths`, `resets` and `trace` say
        whether they are wanted, `chunk` as in `unroll`, `vmapped` whether the call will be vmapped,
        `platform` is that of `platform_name`.
    """

    run: Callable[..., Unrolled]
    supports: Callable[..., str | None]


def where(mask: Array, yes: Tree, no: Tree) -> Tree:
    """Sequence by sequence: `yes` where mask [B] is True, else `no`; trees of arrays [B, ...]."""

    def pick(a: Any, b: Any) -> Array:
        return jnp.where(mask.reshape(mask.shape + (1,) * (jnp.ndim(b) - 1)), a, b)

    return jax.tree.map(pick, yes, no)
