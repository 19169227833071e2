"""One hand-written backward for every cell whose recurrent product is linear.

Autodiff of a scan adds to the recurrent weight's gradient at every step: T small matmuls, each reading and
writing an array as large as the weight. Here the reverse scan only finds the gradients of each step's z and
r; the weight's gradient is then ONE product over all T * B rows, because `recur` is linear and treats the
rows of the batch alike. The gates need no derivative of their own: `jax.vjp(update)`, inside the step.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from lstm_jax.cells.base import Carry, Cell, Trace
from lstm_jax.notation import Array, Params, Tree
from lstm_jax.unroll.base import where
from lstm_jax.unroll.closures import explicit
from lstm_jax.unroll.smooth import halve, is_smooth

__all__ = ["scan_with_backward"]


def scan_with_backward(
    cell: Cell, params: Params, start: Carry, carry: Carry, zs: Tree, resets: Array | None, *, unroll: int = 1
) -> tuple[Carry, tuple[Array, Trace]]:
    """T steps of a cell, differentiable once (reverse mode) by the backward below.

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
    weights = halve((params, recur_of.consts, update_of.consts))
    recur_reads = [*recur_of.reads_first, *recur_of.reads_consts, *([False] * len(update_of.consts))]
    update_reads = [*update_of.reads_first, *([False] * len(recur_of.consts)), *update_of.reads_consts]
    recur_reads, update_reads = weights.of_smooth(recur_reads), weights.of_smooth(update_reads)
    starts, carries, inputs = halve(start), halve(carry), halve(zs)

    def recur(weights: Tree, carry: Carry) -> Tree:
        params, consts, _ = weights
        return recur_of.call(consts, params, carry)

    def update(weights: Tree, carry: Carry, z: Tree, r: Tree) -> tuple[Carry, Array, Trace]:
        params, _, consts = weights
        return update_of.call(consts, params, carry, z, r)

    def forward(smooth: Tree, rest: Tree, keep: bool) -> tuple[Tree, Tree]:
        *rest, resets = rest
        all_weights, start, carry, zs = (
            half.join(*both)
            for half, *both in zip((weights, starts, carries, inputs), smooth, rest, strict=True)
        )

        def step(carry: Carry, inputs: Tree) -> tuple[Carry, Tree]:
            z, reset = inputs
            if reset is not None:
                carry = where(reset, start, carry)
            r = recur(all_weights, carry)
            after, y, trace = update(all_weights, carry, z, r)
            return after, ((y, trace), (carry, r) if keep else None)

        end, (outs, kept) = jax.lax.scan(step, carry, (zs, resets), unroll=unroll)
        return (end, outs), kept

    @jax.custom_vjp
    def run(smooth: Tree, rest: Tree) -> Tree:
        return forward(smooth, rest, keep=False)[0]

    def run_forward(smooth: Tree, rest: Tree) -> tuple[Tree, Tree]:
        smooth, rest = jax.tree.map(lambda primal: primal.value, (smooth, rest))
        out, kept = forward(smooth, rest, keep=True)
        return out, (smooth, rest, kept)

    def run_backward(saved: Tree, cotangents: Tree) -> tuple[Tree, None]:
        (w, s, _, z_all), (w_rest, _, _, z_rest, resets), (c_all, r_all) = saved
        d_end, d_outs = cotangents
        d_end = [_full(leaf) for leaf in halve(d_end).smooth]
        d_outs = jax.tree.leaves(d_outs)  # SymbolicZero where the caller used nothing of an output
        wanted = [index for index, leaf in enumerate(d_outs) if _is_wanted(leaf)]
        d_outs = [d_outs[index] for index in wanted]
        c_all = halve(c_all)

        def outputs(w: Sequence[Array], c: list[Array], z: list[Array], r: Tree, rest: Tree) -> Tree:
            """What has a cotangent, of the outputs of one step."""
            c_rest, z_rest = rest
            after, y, trace = update(
                weights.join(w, w_rest), carries.join(c, c_rest), inputs.join(z, z_rest), r
            )
            outs = jax.tree.leaves((y, trace))
            return halve(after).smooth, [outs[index] for index in wanted]

        places: list[int] = []

        def step(state: Tree, at: Tree) -> tuple[Tree, Tree]:
            d_carry, d_start = state
            c, z, r, rest, reset, d_outs = at
            _, gates_transpose = jax.vjp(lambda c, z, r: outputs(w, c, z, r, rest), c, z, r)
            d_c, d_z, d_r = gates_transpose((d_carry, d_outs))
            _, recur_transpose = jax.vjp(
                lambda c: recur(weights.join(w, w_rest), carries.join(c, rest[0])), c
            )
            d_c = jax.tree.map(jnp.add, d_c, *recur_transpose(d_r))
            if reset is not None:
                nothing = jax.tree.map(jnp.zeros_like, d_c)
                d_start = jax.tree.map(jnp.add, d_start, where(reset, d_c, nothing))
                d_c = where(reset, nothing, d_c)
            # Where gates see z + r, their gradients are one array: it is then written once.
            leaves = [*d_z, *jax.tree.leaves(d_r)]
            once = list({id(leaf): leaf for leaf in leaves}.values())
            places[:] = [next(n for n, one in enumerate(once) if one is leaf) for leaf in leaves]
            return (d_c, d_start), (once, d_carry if any(update_reads) else None)

        no_start = None if resets is None else jax.tree.map(jnp.zeros_like, s)
        at = (c_all.smooth, z_all, r_all, (c_all.rest, z_rest), resets, d_outs)
        (d_first, d_start), (once, d_after) = jax.lax.scan(
            step, (d_end, no_start), at, reverse=True, unroll=unroll
        )
        stacked = [once[place] for place in places]
        d_zs = stacked[: len(z_all)]
        d_rs = jax.tree.unflatten(jax.tree.structure(r_all), stacked[len(z_all) :])

        def all_products(read: Sequence[Array]) -> Tree:
            now = weights.join(_put(read, recur_reads, w), w_rest)
            return jax.vmap(lambda c, c_rest: recur(now, carries.join(c, c_rest)))(c_all.smooth, c_all.rest)

        def all_outputs(read: Sequence[Array]) -> Tree:
            now = _put(read, update_reads, w)
            return jax.vmap(lambda *args: outputs(now, *args))(*at[:4])

        d_w = [jnp.zeros_like(leaf) for leaf in w]
        for function, reads, cotangent in (
            (all_products, recur_reads, d_rs),
            (all_outputs, update_reads, (d_after, d_outs)),
        ):
            if any(reads):
                _, transpose = jax.vjp(function, [leaf for leaf, read in zip(w, reads, strict=True) if read])
                d_w = _add(transpose(cotangent)[0], reads, d_w)
        if d_start is None:
            d_start = [jnp.zeros_like(leaf) for leaf in s]
        return (d_w, d_start, d_first, d_zs), None

    run.defvjp(run_forward, run_backward, symbolic_zeros=True)
    halves = (weights, starts, carries, inputs)
    return run(tuple(half.smooth for half in halves), (*(half.rest for half in halves), resets))


def _is_wanted(cotangent: Any) -> bool:
    return not isinstance(cotangent, SymbolicZero) and is_smooth(cotangent)


def _full(cotangent: Any) -> Array:
    return jnp.zeros(cotangent.shape, cotangent.dtype) if isinstance(cotangent, SymbolicZero) else cotangent


def _put(some: Sequence[Array], reads: Sequence[bool], leaves: Sequence[Array]) -> list[Array]:
    """`leaves`, with the next of `some` wherever `reads` is True."""
    left = iter(some)
    return [next(left) if read else leaf for leaf, read in zip(leaves, reads, strict=True)]


def _add(some: Sequence[Array], reads: Sequence[bool], sums: Sequence[Array]) -> list[Array]:
    """`sums`, with the next of `some` added wherever `reads` is True."""
    left = iter(some)
    return [total + next(left) if read else total for total, read in zip(sums, reads, strict=True)]
