"""What a cell is: a record of pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

from lstm_jax.support.notation import Array, Key, Params, Tree

__all__ = ["Carry", "Cell", "Trace"]

Carry = Any
"""A NamedTuple of named arrays [B, ...], most of them [B, H], e.g. `LSTMCarry(c, h)`."""
Trace = dict[str, Array]
"""What happened inside one step, by name, each [B, H]: the gates and the cell state. `attention` is [B, M],
over the M slots of a memory."""


def _as_it_is(params: Params, ys: Array) -> Array:
    return ys


class Cell(NamedTuple):
    """A recurrent cell, cut where a fast unroll needs it cut.

    Whatever varies a cell is a function `Cell -> Cell` (see `cell._replace`); whatever runs one is
    a backend in `lstm_jax.unroll`, held to a plain Python loop by the tests. The functions are pure.

    Attributes:
      name: the name under which errors and logs speak of it, and by which a backend that has its equations
        knows it: see `activations.cell_name`.
      output_dim: H of the output y; what the next layer takes as its D.
      init: (key, input_dim) -> params; a dict of float32 arrays with the gate axis explicit:
        w_x [D, G, H], w_h [H, G, H], b [G, H].
      carry: (params, batch) -> carry; the initial carry. h in the compute dtype, c in float32.
      prepare: (params, xs [T, B, D], key or None) -> params, zs. All that is parallel over time (the
        input projection as ONE matmul, zs [T, B, G, H]) and EVERY random draw, so that backends
        agree under dropout too. key None means deterministic. zs is a pytree with leading axis T.
        The params it returns are those that `recur` and `update` see (cast, masked, ...).
      recur: (params, carry) -> r [B, G, H], or a tree; the recurrent product, linear in the carry and a
        product of the params it reads when `linear` is True, and independent over the batch.
      update: (params, carry, z, r) -> carry, y [B, H], trace; the gate equations: deterministic, and
        nothing but elementwise arithmetic when `pointwise` is True.
      linear: False where state and input multiply before the gates, or `recur` is not linear: then
        the scan backend differentiates by autodiff instead of the hand-written backward.
      pointwise: False where `update` mixes the units of a sequence (layer norm, a cumulative softmax, a
        matrix memory), so that a kernel that holds some of the units cannot trace it. Apart from `linear`.
      wrappers: the names of the wrappers around the cell, innermost first; a backend that computes
        the equations itself (cuDNN) uses `name` and `wrappers` to tell what it can serve.
      finish: (params, ys [..., K]) -> [..., output_dim]; what of the output is parallel over time (a
        projection as ONE matmul), applied to the y of every step after the last. Row by row, and zero
        stays zero. params are those that `prepare` returned.
      affine: (params, z) -> (decay, entry), two trees like the carry, where `update` makes of every carry
        decay * carry + entry, elementwise, and neither depends on the carry: the memory of all steps is
        then found in parallel (the backend "associative"). None: it is not so. Whatever replaces
        `update` sets it to None.
    """

    name: str
    output_dim: int
    init: Callable[[Key, int], Params]
    carry: Callable[[Params, int], Carry]
    prepare: Callable[[Params, Array, Key | None], tuple[Params, Tree]]
    recur: Callable[[Params, Carry], Tree]
    update: Callable[[Params, Carry, Tree, Tree], tuple[Carry, Array, Trace]]
    linear: bool = True
    pointwise: bool = True
    wrappers: tuple[str, ...] = ()
    finish: Callable[[Params, Array], Array] = _as_it_is
    affine: Callable[[Params, Tree], tuple[Carry, Carry]] | None = None

    def __repr__(self) -> str:
        """The name, H and the wrappers: `<cell lstm, H = 256, weight_drop>`."""
        return f"<cell {', '.join([self.name, f'H = {self.output_dim}', *self.wrappers])}>"
