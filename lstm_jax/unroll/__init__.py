"""Runs a cell over time: one function, several backends that must agree.

Imports `cells` and `support`; sees jax and numpy only. `properties.check` tests a cell of your own.
"""

import sys
import types
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.cells.base import Carry, Cell
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params
from lstm_jax.support.registry import check_name, lookup
from lstm_jax.unroll import associative, cudnn, fused, loop, newton, scan
from lstm_jax.unroll.base import Backend, Unrolled

__all__ = ["BACKENDS", "Backend", "Unrolled", "choose", "platform_name", "unroll"]

BACKENDS: dict[str, Backend] = {
    "scan": Backend(scan.run, scan.supports),
    "loop": Backend(loop.run, loop.supports),
    "cudnn": Backend(cudnn.run, cudnn.supports),
    "fused": Backend(fused.run, fused.supports),
    "associative": Backend(associative.run, associative.supports),
    "newton": Backend(newton.run, newton.supports),
}
"""What can run a cell over time, by name."""


def platform_name() -> str:
    """The platform that jax computes on by default: cpu, gpu (NVIDIA), rocm (AMD) or tpu."""
    platform = jax.default_backend()
    if platform == "gpu" and "rocm" in jax.devices()[0].client.platform_version.lower():
        return "rocm"
    return platform


def choose(
    cell: Cell,
    backend: str = "auto",
    *,
    lengths: bool = False,
    resets: bool = False,
    trace: bool = False,
    chunk: int = 0,
    vmapped: bool = False,
    platform: str | None = None,
) -> tuple[str, str]:
    """The backend to run a cell with, and why, for the run's log.

    Args:
      cell: the cell.
      backend: a name of BACKENDS, or "auto": fused where it serves on a GPU that has confirmed it, else scan.
      lengths: whether lengths will be given.
      resets: whether resets will be given.
      trace: whether the gates are wanted.
      chunk: as in `unroll`.
      vmapped: whether the call will be vmapped.
      platform: of `platform_name`; None: the one at hand.

    Returns:
      (name, why), e.g. ("scan", "auto: fused does not serve: it needs an NVIDIA GPU, ...").

    Raises:
      UserError: an unknown backend, or one asked for by name that cannot serve; the message says why.
    """
    wanted: dict[str, Any] = dict(lengths=lengths, resets=resets, trace=trace, chunk=chunk, vmapped=vmapped)
    wanted["platform"] = platform_name() if platform is None else platform
    if backend == "auto":
        # Never cudnn: it is refused until a GPU confirms it, and was behind fused (experiments/RESULTS.md).
        # Never newton: behind the scan on a CPU (docs/parallel_in_time.md), and not measured on a GPU.
        reason = BACKENDS["fused"].supports(cell, **wanted) or fused.unconfirmed()
        if reason is None:
            return "fused", "auto: fused serves this cell, confirmed on this kind of GPU"
        return "scan", f"auto: fused does not serve: {reason}"
    check_name(backend, ("auto", *BACKENDS), "backend")
    reason = BACKENDS[backend].supports(cell, **wanted)
    if reason is not None:
        raise UserError(
            f"backend {backend!r} cannot run the cell {cell.name!r}: {reason}; try backend 'scan' or 'auto'"
        )
    return backend, "asked for"


def unroll(
    cell: Cell,
    params: Params,
    xs: Array,
    carry: Carry | None = None,
    *,
    key: Key | None = None,
    lengths: Array | None = None,
    resets: Array | None = None,
    backend: str = "scan",
    unroll: int = 1,
    chunk: int = 0,
) -> Unrolled:
    """Runs a cell over T steps.

    Differentiable once in reverse mode with respect to params, xs and carry. May be called under jit, vmap
    (not with cudnn), jax.checkpoint and inside the loops of jax.lax.

    Args:
      cell: of lstm_jax.cells.
      params: of `cell.init`.
      xs: [T, B, D] inputs.
      carry: the carry to begin from; None: the cell's initial carry.
      key: for every random draw (weight drop, zoneout); None: deterministic.
      lengths: [B] integer number of real steps, 0 to T; past it a sequence's carry stays as it is and its
        y and trace are zero. None: all T are real.
      resets: [T, B] bool, True where the carry returns to the cell's initial carry BEFORE the step (not
        past a sequence's length). None: nowhere.
      backend: a name of BACKENDS, or "auto" (see `choose`).
      unroll: steps in one iteration of the scan: more compile time for less overhead. Changes no value.
      chunk: steps in a chunk that the backward recomputes from the carry at its start, to save memory;
        need not divide T; 0 keeps everything. Changes no value.

    Returns:
      Unrolled(carry, ys [T, B, H], trace).

    Raises:
      UserError: an unknown backend or one that cannot serve, or arguments whose shapes or dtypes do not fit.
    """
    lengths = None if lengths is None else jnp.asarray(lengths)
    _check(cell, params, xs, carry, lengths, resets, unroll, chunk)
    if lengths is not None:
        # What lies past a length reaches no output, but a NaN there would reach the gradients: 0 * NaN.
        xs = jnp.where((jnp.arange(xs.shape[0])[:, None] < lengths)[..., None], xs, 0)
    name, _ = choose(cell, backend, lengths=lengths is not None, resets=resets is not None, chunk=chunk)
    begin = cell.carry(params, xs.shape[1]) if carry is None else carry
    options = dict(key=key, lengths=lengths, resets=resets, unroll=unroll, chunk=chunk)
    try:
        return lookup(BACKENDS, name, "backend").run(cell, params, xs, begin, **options)
    except TypeError as error:
        if "dot_general" not in str(error):
            raise
        width = xs.shape[2]
        raise UserError(
            f"xs [T, B, D] has D = {width}, and the parameters of cell {cell.name!r} are for another D: make "
            f"them by cell.init(key, {width})"
        ) from error


def _check(
    cell: Cell,
    params: Params,
    xs: Array,
    carry: Carry | None,
    lengths: Array | None,
    resets: Array | None,
    unroll: int,
    chunk: int,
) -> None:
    """Raises UserError where the arguments of `unroll` do not fit each other."""
    if jnp.ndim(xs) != 3 or xs.shape[0] < 1:
        raise UserError(f"xs must be [T, B, D] with T at least 1, not of shape {list(jnp.shape(xs))}")
    steps, batch, _ = xs.shape
    if batch < 1:
        raise UserError("xs must be [T, B, D] with B at least 1, not an empty batch")
    if unroll < 1 or chunk < 0:
        raise UserError(f"unroll must be 1 or more and chunk 0 or more, not {unroll} and {chunk}")
    if lengths is not None and (
        jnp.shape(lengths) != (batch,) or not jnp.issubdtype(lengths.dtype, jnp.integer)
    ):
        raise UserError(
            f"lengths must be [B] = [{batch}] integers, not {list(jnp.shape(lengths))} {lengths.dtype}"
        )
    if resets is not None and (jnp.shape(resets) != (steps, batch) or resets.dtype != bool):
        raise UserError(
            f"resets must be [T, B] = {[steps, batch]} booleans, not {list(jnp.shape(resets))} {resets.dtype}"
        )
    if carry is not None:
        given, due = (
            jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree)
            for tree in (carry, jax.eval_shape(lambda: cell.carry(params, batch)))
        )
        if given != due or str(jax.tree.structure(given)) != str(jax.tree.structure(due)):
            raise UserError(f"the carry of cell {cell.name!r} must be {due}, not {given}")


class _CallableModule(types.ModuleType):
    """The package as a function, so that `lstm_jax.unroll(cell, params, xs)` is what the front door says."""

    def __call__(self, *arguments: Any, **options: Any) -> Unrolled:
        return unroll(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
