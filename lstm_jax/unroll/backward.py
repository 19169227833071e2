"""One hand-written backward for every cell whose recurrent product is linear.

Autodiff of a scan adds to the recurrent weight's gradient at every step: T small matmuls, each reading and
writing an array as large as the weight. Here the reverse scan only finds the gradients of each step's z and
r; the weight's gradient is then ONE product over all T * B rows, because `recur` is linear and treats the
rows of the batch alike.

The gates need no derivative of their own. `jax.vjp(update)` is taken in the forward step, and what it needs
later is kept: the values of the costly functions (the gates) and the carry, from which the cheap rest is
computed anew. For the LSTM these are 7 numbers a unit and step; z and r, 8 numbers, are not kept.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from lstm_jax.cells.base import Carry, Cell, Trace
from lstm_jax.support.notation import Array, Params, Tree
from lstm_jax.unroll.base import where
from lstm_jax.unroll.closures import explicit
from lstm_jax.unroll.smooth import halve

__all__ = ["is_costly", "scan_with_backward"]

_COSTLY = (
    {"tanh", "logistic", "exp", "exp2", "expm1", "log", "log1p", "pow", "sqrt", "rsqrt", "cbrt", "div", "rem"}
    | {"sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "asinh", "acosh", "atanh"}
    | {"erf", "erfc", "erf_inv", "lgamma", "digamma", "reduce_sum", "reduce_max", "reduce_min", "dot_general"}
)
"""Primitives whose results are kept for the backward; those of all others are computed anew."""


def is_costly(primitive: Any, *_: Any, **__: Any) -> bool:
    """The checkpoint policy of the backward: what is kept."""
    return primitive.name in _COSTLY


def scan_with_backward(
    cell: Cell, params: Params, start: Carry, carry: Carry, zs: Tree, resets: Array | None, *, unroll: int = 1
) -> tuple[Carry, tuple[Array, Trace]]:
    """T steps of a cell, differentiable in reverse mode by the backward below.

    Args:
      cell: a cell with `linear` True, i.e. for given carry, `recur` is linear in the params, and vice versa.
      params: what `prepare` returned.
      start: the initial carry, [B, ...]; read where resets are True.
      carry: the carry to begin from.
      zs: what `prepare` returned, leading axis T.
      resets: [T, B] bool, True where the carry returns to `start` before the step; or None.
      unroll: steps in one iteration of the scan.

    Returns:
      The last carry, and (ys [T, B, H], trace of [T, B, H]).
    """
    z_step = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), zs)
    recur_of = explicit(cell.recur, params, carry)
    update_of = explicit(cell.update, params, carry, z_step, recur_of.shape)

    # From here on, "weights" are the params and what the two functions closed over: all they read.
    all_weights = (params, recur_of.consts, update_of.consts)
    halves = weights, _, _, inputs = [halve(tree) for tree in (all_weights, start, carry, zs)]
    recur_reads = weights.of_smooth(
        [*recur_of.reads_first, *recur_of.reads_consts, *([False] * len(update_of.consts))]
    )
    update_reads = weights.of_smooth(
        [*update_of.reads_first, *([False] * len(recur_of.consts)), *update_of.reads_consts]
    )

    def recur(all_weights: Tree, carry: Carry) -> Tree:
        params, consts, _ = all_weights
        return recur_of.call(consts, params, carry)

    def update(all_weights: Tree, carry: Carry, z: Tree, r: Tree) -> tuple[Carry, tuple[Array, Trace]]:
        params, _, consts = all_weights
        after, y, trace = update_of.call(consts, params, carry, z, r)
        return after, (y, trace)

    structures: list[Any] = []

    def update_and_transpose(all_weights: Tree, carry: Carry, z: Tree, r: Tree) -> tuple[Tree, list[Array]]:
        """What `update` returns, and the leaves of its transpose at this point."""
        w, c, z = halve(all_weights), halve(carry), halve(z)

        def smooth_update(read: Sequence[Array], c_now: list[Array], z_now: list[Array], r: Tree) -> Tree:
            now = w.join(_put(read, update_reads, w.smooth), w.rest)
            out = halve(update(now, c.join(c_now, c.rest), z.join(z_now, z.rest), r))
            return out.smooth, out.rest

        keeping = jax.checkpoint(smooth_update, policy=is_costly, prevent_cse=False)
        read = _take(w.smooth, update_reads)
        smooth, transpose, rest = jax.vjp(keeping, read, c.smooth, z.smooth, r, has_aux=True)
        leaves, structure = jax.tree.flatten(transpose)
        structures[:] = [structure]
        after, y, trace = update_of.shape
        return halve((after, (y, trace))).join(smooth, rest), leaves

    both_of = explicit(update_and_transpose, all_weights, carry, z_step, recur_of.shape)

    # Where each leaf of the transpose comes from. One that is an argument untouched is not kept twice.
    groups = ["weight"] * len(jax.tree.leaves(all_weights))
    groups += ["carry"] * len(jax.tree.leaves(carry)) + ["z"] * len(jax.tree.leaves(zs))
    sources: list[tuple[str, int]] = []
    for index, place in enumerate(both_of.forwards[len(jax.tree.leaves(update_of.shape)) :]):
        if place is None or place >= len(groups):
            sources.append(("own", index))
        else:
            sources.append((groups[place], place - groups.index(groups[place])))
    own_places = [place for group, place in sources if group == "own"]
    z_places = [place for group, place in sources if group == "z"]

    # Where the gates see z + r and nothing else of them, the two have one gradient: it is written once.
    before_z = len(jax.tree.leaves((params, carry)))
    before_r = before_z + len(jax.tree.leaves(zs))
    twins: list[int | None] = []
    for place in range(before_z, before_r):
        twin = update_of.partners.get(place, -1)
        twins.append(twin - before_r if twin >= before_r else None)
    twins = inputs.of_smooth(twins)
    alone = [twin is None for twin in twins]

    def transpose_of(all_weights: Tree, c: Carry, kept: Tree) -> Any:
        """The transpose of `update` at a step: cotangents of its outputs -> those of (weights, c, z, r)."""
        own, z = (iter(leaves) for leaves in kept)
        fixed = {"weight": jax.tree.leaves(all_weights), "carry": jax.tree.leaves(c)}
        leaves = [
            next(own) if group == "own" else next(z) if group == "z" else fixed[group][place]
            for group, place in sources
        ]
        return jax.tree.unflatten(structures[0], leaves)

    def forward(smooth: Tree, rest: Tree, keep: bool) -> tuple[Tree, Tree]:
        *rest, resets = rest
        all_weights, start, carry, zs = (
            half.join(*both) for half, *both in zip(halves, smooth, rest, strict=True)
        )

        def step(carry: Carry, at: Tree) -> tuple[Carry, Tree]:
            z, reset = at
            if reset is not None:
                carry = where(reset, start, carry)
            r = recur(all_weights, carry)
            if not keep:
                after, outs = update(all_weights, carry, z, r)
                return after, (outs, None)
            (after, outs), leaves = both_of.call(both_of.consts, all_weights, carry, z, r)
            return after, (outs, (carry, [leaves[place] for place in own_places]))

        end, (outs, kept) = jax.lax.scan(step, carry, (zs, resets), unroll=unroll)
        if keep:
            c_all, own = kept
            z_leaves = jax.tree.leaves(zs)
            kept = all_weights, start, c_all, (own, [z_leaves[place] for place in z_places]), resets
        return (end, outs), kept

    @jax.custom_vjp
    def run(smooth: Tree, rest: Tree) -> Tree:
        return forward(smooth, rest, keep=False)[0]

    def run_forward(smooth: Tree, rest: Tree) -> tuple[Tree, Tree]:
        smooth, rest = jax.tree.map(lambda primal: primal.value, (smooth, rest))
        return forward(smooth, rest, keep=True)

    def run_backward(saved: Tree, cotangents: Tree) -> tuple[Tree, None]:
        all_weights, start, c_all, kept, resets = saved
        d_end, d_outs = (halve(tree).smooth for tree in cotangents)
        d_end = [jnp.zeros(d.shape, d.dtype) if isinstance(d, SymbolicZero) else d for d in d_end]
        # An output that the caller does not use has a SymbolicZero: nothing is read, a step sees constants.
        used = [not isinstance(d, SymbolicZero) for d in d_outs]

        def fill(d_used: Sequence[Array]) -> list[Array]:
            left = iter(d_used)
            return [
                next(left) if use else jnp.zeros(d.shape[1:], d.dtype)
                for use, d in zip(used, d_outs, strict=True)
            ]

        def step(state: Tree, at: Tree) -> tuple[Tree, Tree]:
            d_carry, d_start = state
            c, kept, reset, d_used = at
            _, d_c, d_z, d_r = transpose_of(all_weights, c, kept)([*d_carry, *fill(d_used)])
            c = halve(c)
            _, recur_transpose = jax.vjp(lambda leaves: recur(all_weights, c.join(leaves, c.rest)), c.smooth)
            d_c = jax.tree.map(jnp.add, d_c, *recur_transpose(d_r))
            if reset is not None:
                nothing = jax.tree.map(jnp.zeros_like, d_c)
                d_start = jax.tree.map(jnp.add, d_start, where(reset, d_c, nothing))
                d_c = where(reset, nothing, d_c)
            written = _take(d_z, alone), d_r
            return (d_c, d_start), (written, d_carry if any(update_reads) else None)

        d_start = jax.tree.map(jnp.zeros_like, halve(start).smooth)
        at = c_all, kept, resets, _take(d_outs, used)
        (d_first, d_start), ((d_alone, d_rs), d_after) = jax.lax.scan(
            step, (d_end, d_start), at, reverse=True, unroll=unroll
        )
        r_leaves = jax.tree.leaves(d_rs)
        d_zs = [r_leaves[twin] if twin is not None else None for twin in twins]
        d_zs = _put(d_alone, alone, d_zs)

        w = halve(all_weights)
        d_w = [jnp.zeros_like(leaf) for leaf in w.smooth]
        if any(recur_reads):

            def products(read: Sequence[Array]) -> Tree:
                now = w.join(_put(read, recur_reads, w.smooth), w.rest)
                return jax.vmap(lambda c: recur(now, c))(c_all)

            _, transpose = jax.vjp(products, _take(w.smooth, recur_reads))
            d_read = transpose(d_rs)[0]
            d_w = _put(d_read, recur_reads, d_w)
        if any(update_reads):

            def of_step(c: Carry, kept: Tree, d_after: list[Array], d_used: list[Array]) -> list[Array]:
                return transpose_of(all_weights, c, kept)([*d_after, *fill(d_used)])[0]

            d_each = jax.vmap(of_step)(c_all, kept, d_after, _take(d_outs, used))
            d_read = [d.sum(0) + so_far for d, so_far in zip(d_each, _take(d_w, update_reads), strict=True)]
            d_w = _put(d_read, update_reads, d_w)
        return (d_w, d_start, d_first, d_zs), None

    run.defvjp(run_forward, run_backward, symbolic_zeros=True)
    return run(tuple(half.smooth for half in halves), (*(half.rest for half in halves), resets))


def _take(items: Sequence[Any], which: Sequence[bool]) -> list[Any]:
    """The items where `which` is True."""
    return [item for item, take in zip(items, which, strict=True) if take]


def _put(some: Sequence[Any], which: Sequence[bool], items: Sequence[Any]) -> list[Any]:
    """`items`, with the next of `some` in the places where `which` is True."""
    left = iter(some)
    return [next(left) if put else item for item, put in zip(items, which, strict=True)]
