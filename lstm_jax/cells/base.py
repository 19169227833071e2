"""What a cell is: a record of pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

from lstm_jax.notation import Array, Key, Params, Tree

__all__ = ["Carry", "Cell", "Trace"]

Carry = Any
"""A NamedTuple of named [B, H] arrays, e.g. `LSTMCarry(c, h)`."""
Trace = dict[str, Array]
"""What happened inside one step, by name, each [B, H]: the gates and the cell state."""


class Cell(NamedTuple):
    """A recurrent cell, cut where a fast unroll needs it cut.

    Whatever varies a cell is a function `Cell -> Cell` (see `cell._replace`); whatever runs one is
    a backend in `lstm_jax.unroll`, held to a plain Python loop by the tests. The functions are pure.

    Attributes:
      name: the name under which errors and logs speak of it.
      output_dim: H of the output y; what the next layer takes as its D.
      init: (key, input_dim) -> params; a dict of float32 arrays with the gate axis explicit:
        w_x [D, G, H], w_h [H, G, H], b [G, H].
      carry: (params, batch) -> carry; the initial carry. h in the compute dtype, c in float32.
      prepare: (params, xs [T, B, D], key or None) -> params, zs. All that is parallel over time (the
        input projection as ONE matmul, zs [T, B, G, H]) and EVERY random draw, so that backends
        agree under dropout too. key None means deterministic. zs is a pytree with leading axis T.
        The params it returns are those that `recur` and `update` see (cast, masked, ...).
      recur: (params, carry) -> r [B, G, H]; the recurrent product, linear in the params it reads and
        in the carry when `linear` is True, and independent over the batch.
      update: (params, carry, z, r) -> carry, y [B, H], trace; the pointwise gate equations:
        deterministic, nothing but elementwise arithmetic.
      linear: False where state and input multiply before the gates, or `recur` is not linear: then
        the scan backend differentiates by autodiff instead of the hand-written backward.
      wrappers: the names of the wrappers around the cell, innermost first; a backend that computes
        the equations itself (cuDNN) uses `name` and `wrappers` to tell what it can serve.
    """

    name: str
    output_dim: int
    init: Callable[[Key, int], Params]
    carry: Callable[[Params, int], Carry]
    prepare: Callable[[Params, Array, Key | None], tuple[Params, Tree]]
    recur: Callable[[Params, Carry], Array]
    update: Callable[[Params, Carry, Tree, Array], tuple[Carry, Array, Trace]]
    linear: bool = True
    wrappers: tuple[str, ...] = ()
