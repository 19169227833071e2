"""All steps in one kernel: the recurrent weight stays on the chip, for every cell of one product and
pointwise gates.

The scan reads W_h from memory at every step and starts kernels for each. Here one kernel runs all T steps:
each block holds the columns of its own units, all gates of them, for good; a step is one exchange of h over
the grid, one small product and the cell's own `update`, which is traced into the kernel (`unit_programs`,
`persistent`).

The backward is a kernel of the same kind that runs backwards in time. It gives the gradients of z and r; that
of the weight is then one product outside, as in `backward`, and the forward keeps for it the same numbers:
the values of the costly functions. What follows from the carries of all steps in parallel (y where it is not
a leaf of the carry, and the trace) is computed outside, and only where it is used.

"auto" takes it on the GPUs that have confirmed it, see CONFIRMED.
"""

import functools
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from lstm_jax.cells.base import Carry, Cell
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params, Tree
from lstm_jax.unroll import fused_kernels, persistent, scan
from lstm_jax.unroll.base import Unrolled, where
from lstm_jax.unroll.closures import explicit
from lstm_jax.unroll.fused_kernels import Shapes
from lstm_jax.unroll.pointwise import Refused
from lstm_jax.unroll.recurrent_product import Product, recurrent_product
from lstm_jax.unroll.smooth import halve, is_smooth
from lstm_jax.unroll.unit_programs import Programs, programs

__all__ = ["CONFIRMED", "run", "supports", "unconfirmed"]

CONFIRMED = {"9.0": "NVIDIA H200, jax 0.11.2, 2026-11-27, commit fe5ed05: experiments/accelerator/"}
"""compute capability -> where the kernels gave the loop's values and gradients and were the fastest."""


def supports(
    cell: Cell,
    *,
    lengths: bool = False,
    resets: bool = False,
    trace: bool = False,
    chunk: int = 0,
    vmapped: bool = False,
    platform: str = "cpu",
    batch: int = 1,
) -> str | None:
    """None where the kernels serve, else the reason; see `Backend.supports`. `batch` is B, if known."""
    if platform not in ("gpu", "cuda"):
        return f"it needs an NVIDIA GPU, and the platform is {platform}"
    if vmapped:
        return "it cannot be vmapped"
    if chunk:
        return "it cannot recompute in chunks (chunk)"
    return persistent.unavailable() or _refusal(cell, batch)


def unconfirmed() -> str | None:
    """Returns why "auto" does not take the kernels on the GPU at hand, None where they are confirmed."""
    if jax.device_count() > 1:
        return "XLA cannot cut its kernels over several devices"
    capability = str(getattr(jax.devices()[0], "compute_capability", "none"))
    if capability in CONFIRMED:
        return None
    return f"no GPU of compute capability {capability} has confirmed it yet (benchmarks/accelerator.py)"


@functools.lru_cache(64)
def _refusal(cell: Cell, batch: int) -> str | None:
    """Why the kernels cannot run this cell, None where they can."""
    try:
        params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 1))
        carry = jax.eval_shape(lambda p: cell.carry(p, batch), params)

        def trace(params: Params, carry: Carry, xs: Array) -> None:
            seen, zs = cell.prepare(params, xs, None)
            _parts(cell, seen, carry, zs, resets=False)

        jax.eval_shape(trace, params, carry, jax.ShapeDtypeStruct((1, batch, 1), jnp.float32))
    except Refused as reason:
        return str(reason)
    except UserError as error:  # the cell itself refuses, as zoneout of a state that it does not have
        return f"it cannot run what the cell refuses: {error}"
    return None


class _Parts(NamedTuple):
    """A cell, taken apart for the kernels.

    Attributes:
      shapes: what the kernels are made for.
      programs: its arithmetic.
      product: the recurrent product.
      weights: [N, H] float32, what `update` reads of the params, a row for each number of a unit.
    """

    shapes: Shapes
    programs: Programs
    product: Product
    weights: Array


def _parts(cell: Cell, params: Params, carry: Carry, zs: Tree, *, resets: bool) -> _Parts:
    """Takes the cell apart; `params` and `zs` [T, ...] as from `prepare`. Raises Refused."""
    if not cell.linear:
        raise Refused(f"it needs a recurrent product that is linear, and that of {cell.name!r} is not")
    if not cell.pointwise:
        raise Refused(f"it needs an update that does not mix the units, and that of {cell.name!r} does")
    product = recurrent_product(cell, params, carry)
    hidden = product.weight.shape[2]
    leaves = jax.tree.leaves(carry)
    batch = leaves[0].shape[0]
    if any(leaf.shape != (batch, hidden) or not is_smooth(leaf) for leaf in leaves):
        raise Refused(f"it needs a carry of floating arrays [B, H], and that of {cell.name!r} is not")
    of_step = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), zs)
    r = jax.eval_shape(cell.recur, params, carry)
    unit_params = jax.tree.map(lambda leaf: _unit(leaf, hidden, 0), params)
    units = [jax.tree.map(lambda leaf: _unit(leaf, hidden, 1), tree) for tree in (carry, of_step, r)]
    for leaf in jax.tree.leaves(units[1:]):
        if leaf.shape and leaf.shape[-1] != 1:
            raise Refused("it needs z of [T, B, ..., H] or [T, B]")
    try:
        update = explicit(cell.update, unit_params, *units)
    except (TypeError, ValueError) as error:
        raise Refused(
            f"it cannot trace the update of {cell.name!r} for one unit: {str(error)[:200]}"
        ) from error
    reads = [*update.reads_first, *update.reads_consts]
    shapes = [*jax.tree.leaves(unit_params), *update.consts]
    arrays = [*jax.tree.leaves(params), *update.consts]
    read = [n for n, is_read in enumerate(reads) if is_read]
    for n in read:
        if not is_smooth(shapes[n]) or (np.ndim(shapes[n]) and np.shape(shapes[n])[-1] != 1):
            raise Refused(
                f"it needs params of units, and the update of {cell.name!r} reads {np.shape(arrays[n])}"
            )
    count = len(update.reads_first)
    structure = jax.tree.structure(unit_params)

    def of_weights(ws: list[Array], carry: Carry, z: Tree, r: Tree) -> tuple[Carry, Array, Tree]:
        full: list[Any] = [0.0] * len(shapes)
        for n, w in zip(read, ws, strict=True):
            full[n] = w
        return update.call(full[count:], jax.tree.unflatten(structure, full[:count]), carry, z, r)

    weight_shapes = [jax.ShapeDtypeStruct(np.shape(shapes[n]), shapes[n].dtype) for n in read]
    made = programs(of_weights, weight_shapes, *units)
    rows = [jnp.asarray(arrays[n], jnp.float32) for n in read]
    rows = [row.reshape(-1, row.shape[-1] if row.ndim else 1) for row in rows]
    rows = [jnp.broadcast_to(row, (row.shape[0], hidden)) for row in rows]
    z_kind = halve(of_step)
    given = Shapes(
        steps=jax.tree.leaves(zs)[0].shape[0],
        batch=batch,
        hidden=hidden,
        columns=product.weight.shape[1],
        source=product.source,
        element=product.weight.dtype,
        carry=tuple(leaf.dtype for leaf in leaves),
        zs=tuple((leaf.shape, leaf.dtype, is_smooth(leaf)) for leaf in (*z_kind.smooth, *z_kind.rest)),
        weights=sum(row.shape[0] for row in rows),
        exact=product.exact or not persistent.ONE_PASS,
        resets=resets,
    )
    fused_kernels.check(given, made)
    weights = jnp.concatenate(rows) if rows else jnp.zeros((1, hidden), jnp.float32)
    return _Parts(given, made, product, weights)


def _unit(leaf: Any, hidden: int, rows: int) -> Any:
    """A leaf's shape for one unit of one sequence: its first `rows` axes 1, and its last where that is H."""
    shape = [1] * min(rows, leaf.ndim) + list(leaf.shape[rows:])
    if leaf.ndim > rows and shape[-1] == hidden:
        shape[-1] = 1
    return jax.ShapeDtypeStruct(tuple(shape), leaf.dtype)


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
    """Runs the cell over xs [T, B, D] in one kernel; see `lstm_jax.unroll.unroll`. `unroll` changes nothing
    here.

    A batch for which there is no kernel runs on the scan, with a warning that says why.
    """
    steps, batch = xs.shape[:2]
    start = cell.carry(params, batch)
    seen, zs = cell.prepare(params, xs, key)
    inner, inputs, ended = cell, zs, None
    if lengths is not None:
        ended = jnp.arange(steps)[:, None] >= lengths
        inner, inputs = scan.freezing(cell), (zs, ended)
        resets = None if resets is None else resets & ~ended
    try:
        parts = _parts(inner, seen, carry, inputs, resets=resets is not None)
        y_leaf = parts.programs.y if ended is None else _parts(cell, seen, carry, zs, resets=False).programs.y
    except Refused as reason:
        warnings.warn(f"the backend 'fused' leaves {cell.name!r} to the scan: {reason}", stacklevel=2)
        options: dict[str, Any] = dict(key=key, lengths=lengths, resets=resets, unroll=unroll, chunk=chunk)
        return scan.run(cell, params, xs, carry, **options)
    leaves = _states(parts, jax.tree.leaves(start), jax.tree.leaves(carry), inputs, resets)
    after = jax.tree.unflatten(jax.tree.structure(carry), leaves)
    before = jax.tree.map(lambda c, all_c: jnp.concatenate([c[None], all_c[:-1]]), carry, after)
    each = jax.vmap(where)
    if resets is not None:
        starts = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (steps, *leaf.shape)), start)
        before = each(resets, starts, before)
    rs = jax.vmap(cell.recur, (None, 0))(seen, before)
    _, ys, trace = jax.vmap(cell.update, (None, 0, 0, 0))(seen, before, zs, rs)
    if y_leaf is not None:
        ys = leaves[y_leaf]
    if ended is not None:
        ys, trace = each(ended, jax.tree.map(jnp.zeros_like, (ys, trace)), (ys, trace))
    return Unrolled(jax.tree.map(lambda all_c: all_c[-1], after), cell.finish(seen, ys), trace)


def _states(
    parts: _Parts, start: list[Array], carry: list[Array], zs: Tree, resets: Array | None
) -> list[Array]:
    """The leaves of the carry after each step, [T, B, H], differentiable in reverse mode."""
    shapes, made = parts.shapes, parts.programs
    kinds = halve(zs)

    def forward(smooth: Tree, rest: Tree, *, keep: bool) -> list[Array]:
        weight, weights, start, carry, z_smooth = smooth
        z_rest, resets = rest
        kernel = fused_kernels.forward_kernel(shapes, made, keep=keep)
        arrays = [weight, weights, *start, *carry, *z_smooth, *z_rest]
        return persistent.launch(kernel, arrays if resets is None else [*arrays, resets])[:-1]

    @jax.custom_vjp
    def run(smooth: Tree, rest: Tree) -> list[Array]:
        return forward(smooth, rest, keep=False)

    def run_forward(smooth: Tree, rest: Tree) -> tuple[list[Array], Tree]:
        smooth, rest = jax.tree.map(lambda primal: primal.value, (smooth, rest))
        outs = forward(smooth, rest, keep=True)
        return outs[: len(shapes.carry)], (smooth, rest, outs)

    def run_backward(saved: Tree, gradients: list[Any]) -> tuple[Tree, None]:
        smooth, rest, outs = saved
        return _gradients(shapes, made, smooth, rest, outs, gradients), None

    run.defvjp(run_forward, run_backward, symbolic_zeros=True)
    return run((parts.product.weight, parts.weights, start, carry, kinds.smooth), (kinds.rest, resets))


def _gradients(
    shapes: Shapes, made: Programs, smooth: Tree, rest: Tree, outs: list[Array], gradients: list[Any]
) -> Tree:
    """The gradients of `smooth`, from those of the carry after each step (SymbolicZero where unused)."""
    weight, weights, start, carry, z_smooth = smooth
    z_rest, resets = rest
    used = tuple(not isinstance(g, SymbolicZero) for g in gradients)
    given = [g for g, use in zip(gradients, used, strict=True) if use]
    kernel = fused_kernels.backward_kernel(shapes, made, used)
    arrays = [weight, weights, *start, *carry, *z_smooth, *z_rest]
    arrays += [*([] if resets is None else [resets]), *outs, *given]
    named = dict(
        zip((output.name for output in kernel.outputs), persistent.launch(kernel, arrays), strict=True)
    )

    d_zs = [named[f"dz{n}"] for n in range(len(z_smooth))]
    shared = fused_kernels.shared_gradient(shapes, made)
    d_r = (named["dr_all"] if shared is None else d_zs[shared]).reshape(
        shapes.steps * shapes.batch, shapes.columns, shapes.hidden
    )
    source = jnp.concatenate([carry[shapes.source][None], outs[shapes.source][:-1]])
    if resets is not None:
        source = jnp.where(resets[..., None], start[shapes.source], source)
    d_weight = jnp.tensordot(
        source.reshape(-1, shapes.hidden),
        d_r.astype(shapes.element),
        (0, 0),
        preferred_element_type=jnp.float32,
    )
    d_carry = [named[f"d_carry{n}"].astype(leaf.dtype) for n, leaf in enumerate(carry)]
    d_start = [
        jnp.zeros_like(leaf) if resets is None else named[f"d_start{n}"].astype(leaf.dtype)
        for n, leaf in enumerate(start)
    ]
    d_weights = named["d_weights"].sum(0) if shapes.weights else jnp.zeros_like(weights)
    return d_weight.astype(weight.dtype), d_weights, d_start, d_carry, d_zs
