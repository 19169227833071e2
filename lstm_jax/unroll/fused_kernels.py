"""The two kernels of the fused backend for one cell: the steps around its arithmetic."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lstm_jax.unroll import persistent
from lstm_jax.unroll.persistent import Argument, Kernel, Plan
from lstm_jax.unroll.pointwise import Refused
from lstm_jax.unroll.unit_programs import Programs

__all__ = ["Shapes", "backward_kernel", "check", "forward_kernel", "shared_gradient"]


class Shapes(NamedTuple):
    """What the kernels are made for.

    Attributes:
      steps: T.
      batch: B.
      hidden: H.
      columns: R, numbers of the recurrent product for each unit.
      source: the index of the carry's leaf that is multiplied.
      element: dtype of the recurrent weight and of the source.
      carry: dtype of each leaf.
      zs: (shape [B, ...], dtype, whether it has a gradient) of each leaf, those with a gradient first.
      weights: numbers of a unit that `update` reads of the params.
      exact: whether float32 is multiplied in three passes, not in one as tf32.
      resets: whether there are resets.
    """

    steps: int
    batch: int
    hidden: int
    columns: int
    source: int
    element: Any
    carry: tuple[Any, ...]
    zs: tuple[tuple[tuple[int, ...], Any, bool], ...]
    weights: int
    exact: bool
    resets: bool

    def count(self, shape: tuple[int, ...]) -> int:
        """Numbers of a unit in a leaf [B, ..., H] of z, 1 for one of [B]."""
        return int(np.prod(shape[1:-1], dtype=int)) if len(shape) > 1 else 1


def _plan(shapes: Shapes, programs: Programs, *, backward: bool) -> Plan:
    columns, depth = (1, shapes.columns * shapes.hidden) if backward else (shapes.columns, shapes.hidden)
    numbers = sum(shapes.count(shape) for shape, _, _ in shapes.zs)
    state = 2 * len(shapes.carry) + (2 if backward else 1) * shapes.weights + numbers + 8 * backward
    return persistent.plan(
        hidden=shapes.hidden,
        batch=shapes.batch,
        columns=columns,
        depth=depth,
        itemsize=np.dtype(shapes.element).itemsize,
        state=state,
        cluster=persistent.CLUSTERS[backward],
    )


def check(shapes: Shapes, programs: Programs) -> None:
    """Raises Refused where the kernels cannot be made."""
    for shape, dtype, smooth in shapes.zs:
        if len(shape) == 1 and smooth:
            raise Refused("it needs z of [T, B, ..., H]; of [T, B] only masks")
        if np.dtype(dtype).name not in persistent.C_TYPES:
            raise Refused(f"it has no code for z of {np.dtype(dtype).name}")
    for dtype in shapes.carry:
        if np.dtype(dtype).name not in ("float32", "bfloat16"):
            raise Refused(f"it has no code for a carry of {np.dtype(dtype).name}")
    for backward in (False, True):
        _plan(shapes, programs, backward=backward)


def shared_gradient(shapes: Shapes, programs: Programs) -> int | None:
    """The index of the leaf of z whose gradient is that of r, number by number; None where r has its own."""
    first = 0
    for index, (shape, dtype, smooth) in enumerate(shapes.zs):
        numbers = shapes.count(shape)
        same = programs.twins == tuple(range(first, first + shapes.columns))
        if smooth and same and numbers == shapes.columns and dtype == jnp.float32:
            return index
        first += numbers
    return None


def _constants(shapes: Shapes, programs: Programs, *, backward: bool) -> dict[str, int]:
    depth = shapes.columns * shapes.hidden if backward else shapes.hidden
    return dict(
        BACKWARD=int(backward),
        T=shapes.steps,
        B=shapes.batch,
        H=shapes.hidden,
        R=shapes.columns,
        COLUMNS=1 if backward else shapes.columns,
        K=depth,
        NC=len(shapes.carry),
        NWT=shapes.weights,
        NZ=max(1, sum(shapes.count(shape) for shape, _, _ in shapes.zs)),
        NO=max(1, programs.own),
        SOURCE=shapes.source,
        PASSES=3 if shapes.exact else 1,
    )


def _source_argument(shapes: Shapes, depth: int) -> Argument:
    chunk = 64 // np.dtype(shapes.element).itemsize
    return Argument("source", (2, shapes.batch, -(-depth // chunk) * chunk), shapes.element)


def _load_z(shapes: Shapes) -> str:
    """Statements that read z of step t."""
    lines, first = [], 0
    for index, (shape, _, _) in enumerate(shapes.zs):
        numbers = shapes.count(shape)
        for n in range(numbers):
            at = "(long)t * B + b" if len(shape) == 1 else f"AT({numbers}, {n}, t)"
            lines.append(f"z[i][{first + n}] = get(z{index}, {at});")
        first += numbers
    return "\n".join(lines)


def _inputs(shapes: Shapes) -> list[Argument]:
    per_unit = (shapes.batch, shapes.hidden)
    inputs = [Argument("w", (shapes.hidden, shapes.columns, shapes.hidden), shapes.element)]
    inputs.append(Argument("weights", (max(1, shapes.weights), shapes.hidden), jnp.float32))
    inputs += [Argument(f"start{n}", per_unit, dtype) for n, dtype in enumerate(shapes.carry)]
    inputs += [Argument(f"carry{n}", per_unit, dtype) for n, dtype in enumerate(shapes.carry)]
    inputs += [Argument(f"z{n}", (shapes.steps, *s), dtype) for n, (s, dtype, _) in enumerate(shapes.zs)]
    if shapes.resets:
        inputs.append(Argument("resets", (shapes.steps, shapes.batch), jnp.bool_))
    return inputs


def _each(shapes: Shapes, statement: str) -> str:
    """The statement for every leaf of the carry, whose index is in the place of #."""
    return "\n".join(statement.replace("#", str(n)) for n in range(len(shapes.carry)))


_BEGIN = "state[i][#] = get(carry#, (long)b * H + unit);"
_START = "state[i][#] = get(start#, (long)b * H + unit);"


def _if_reset(shapes: Shapes, t: str, then: str) -> str:
    """The statement `then` where the carry is reset before step t; nothing without resets."""
    return f"if (get(resets, (long)({t}) * B + b) != 0.0f) {{ {then} }}" if shapes.resets else ""


def forward_kernel(shapes: Shapes, programs: Programs, *, keep: bool) -> Kernel:
    """The kernel of all steps forwards.

    Inputs: w [H, R, H], weights [N, H], the leaves of start and of carry [B, H], those of zs [T, B, ...], and
    resets [T, B] where there are any. Outputs: the leaves of the carry after each step [T, B, H], with `keep`
    own [T, B, O, H], and the exchange buffer.
    """
    steps, batch, hidden = shapes.steps, shapes.batch, shapes.hidden
    outputs = [Argument(f"after{n}", (steps, batch, hidden), dtype) for n, dtype in enumerate(shapes.carry)]
    write = [_each(shapes, "put(after#, AT(1, 0, t), after[i][#]);")]
    if keep and programs.own:
        outputs.append(Argument("own", (steps, batch, programs.own, hidden), jnp.float32))
        write += [f"put(own, AT(NO, {n}, t), own_now[i][{n}]);" for n in range(programs.own)]
    outputs.append(_source_argument(shapes, hidden))
    restart = _each(shapes, _START)
    function = (
        "DEVICE void step_forward(const float *wt, const float *state, const float *z, const float *r, "
        f"float *after, float *own) {{\n{programs.forward}\n}}"
    )
    return persistent.source(
        "lstm_jax_fused_forward",
        _plan(shapes, programs, backward=False),
        _constants(shapes, programs, backward=False),
        function,
        "fused_forward.cu",
        dict(
            BEGIN=_each(shapes, _BEGIN),
            RESET_FIRST=_if_reset(shapes, "0", restart),
            RESET_NEXT=_if_reset(shapes, "t + 1", restart),
            LOAD_Z=_load_z(shapes),
            POISON=_each(shapes, "put(after#, AT(1, 0, t), NAN_F);"),
            WRITE="\n".join(write),
        ),
        _inputs(shapes),
        outputs,
    )


def backward_kernel(shapes: Shapes, programs: Programs, used: tuple[bool, ...]) -> Kernel:
    """The kernel of all steps backwards.

    Inputs: those of the forward, then the leaves of the carry after each step, own where there is any, and
    the gradients [T, B, H] of those leaves for which `used` is True. Outputs: the gradients of the smooth
    leaves of zs, of r [T, B, R, H] where they are not those of one of these (`shared_gradient`), of the
    carry's leaves [B, H] float32, of those of start where there are resets, of the weights by sequence
    [B, N, H] where there are any, and the exchange buffer.
    """
    inputs, own = _inputs(shapes), range(programs.own)
    of_all = (shapes.steps, shapes.batch, shapes.hidden)
    inputs += [Argument(f"after{n}", of_all, dtype) for n, dtype in enumerate(shapes.carry)]
    if programs.own:
        inputs.append(Argument("own", (*of_all[:2], programs.own, shapes.hidden), jnp.float32))
    inputs += [Argument(f"g{n}", of_all, dtype) for n, dtype in enumerate(shapes.carry) if used[n]]
    gradients = [
        f"g[i][{n}] = {f'get(g{n}, AT(1, 0, t))' if is_used else '0.0f'};" for n, is_used in enumerate(used)
    ]
    outputs, write, write_last = _gradient_outputs(shapes, programs)
    function = (
        "DEVICE void step_backward(const float *wt, const float *state, const float *z, const float *own, "
        f"const float *g, float *dw, float *dc, float *dz, float *dr) {{\n{programs.backward}\n}}"
    )
    to_start = "for (int n = 0; n < NC; n++) { d_start[i][n] += direct[i][n]; direct[i][n] = 0.0f; }"
    return persistent.source(
        "lstm_jax_fused_backward",
        _plan(shapes, programs, backward=True),
        _constants(shapes, programs, backward=True),
        function,
        "fused_backward.cu",
        dict(
            LOAD_Z=_load_z(shapes),
            LOAD_OWN="\n".join(f"own_now[i][{n}] = get(own, AT(NO, {n}, t));" for n in own),
            LOAD_GRADIENTS="\n".join(gradients),
            BEGIN=_each(shapes, _BEGIN),
            BEFORE=_each(shapes, "state[i][#] = get(after#, AT(1, 0, t - 1));"),
            RESET=_if_reset(shapes, "t", _each(shapes, _START)),
            RESET_AFTER=_if_reset(shapes, "t + 1", to_start),
            WRITE="\n".join(write),
            WRITE_LAST="\n".join(write_last),
        ),
        inputs,
        outputs,
    )


def _gradient_outputs(shapes: Shapes, programs: Programs) -> tuple[list[Argument], list[str], list[str]]:
    """The outputs of the backward, and the statements that write them: at each step, and after the last."""
    steps, batch, hidden = shapes.steps, shapes.batch, shapes.hidden
    outputs, write, first = [], [], 0
    for index, (shape, dtype, smooth) in enumerate(shapes.zs):
        numbers = shapes.count(shape)
        if smooth:
            outputs.append(Argument(f"dz{index}", (steps, *shape), dtype))
            write += [f"put(dz{index}, AT({numbers}, {n}, t), dz[{first + n}]);" for n in range(numbers)]
            first += numbers
    if shared_gradient(shapes, programs) is None:
        outputs.append(Argument("dr_all", (steps, batch, shapes.columns, hidden), jnp.float32))
        write += [f"put(dr_all, AT(R, {n}, t), dr[{n}]);" for n in range(shapes.columns)]
    each = range(len(shapes.carry))
    outputs += [Argument(f"d_carry{n}", (batch, hidden), jnp.float32) for n in each]
    last = [_each(shapes, "put(d_carry#, (long)b * H + unit, direct[i][#]);")]
    if shapes.resets:
        outputs += [Argument(f"d_start{n}", (batch, hidden), jnp.float32) for n in each]
        last.append(_each(shapes, "put(d_start#, (long)b * H + unit, d_start[i][#]);"))
    if shapes.weights:
        outputs.append(Argument("d_weights", (batch, shapes.weights, hidden), jnp.float32))
        last.append("for (int n = 0; n < NWT; n++) put(d_weights, AT(NWT, n, 0), d_wt[i][n]);")
    outputs.append(_source_argument(shapes, shapes.columns * hidden))
    return outputs, write, last
