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


def forward_kernel(shapes: Shapes, programs: Programs, *, keep: bool) -> Kernel:
    """The kernel of all steps forwards.

    Inputs: w [H, R, H], weights [N, H], the leaves of start and of carry [B, H], those of zs [T, B, ...], and
    resets [T, B] where there are any. Outputs: the leaves of the carry after each step [T, B, H], with `keep`
    own [T, B, O, H], and the exchange buffer.
    """
    each = range(len(shapes.carry))
    steps, batch, hidden = shapes.steps, shapes.batch, shapes.hidden
    outputs = [Argument(f"after{n}", (steps, batch, hidden), dtype) for n, dtype in enumerate(shapes.carry)]
    keep = keep and programs.own > 0
    if keep:
        outputs.append(Argument("own", (steps, batch, programs.own, hidden), jnp.float32))
    outputs.append(_source_argument(shapes, hidden))
    reset = "if (get(resets, (long)({t}) * B + b) != 0.0f) {{ {then} }}" if shapes.resets else ""
    restart = " ".join(f"state[i][{n}] = get(start{n}, (long)b * H + unit);" for n in each)
    body = f"""
  FOR_EACH_UNIT
    {" ".join(f"state[i][{n}] = get(carry{n}, (long)b * H + unit);" for n in each)}
    {reset.format(t=0, then=restart)}
    put(source, (long)b * KP + unit, state[i][SOURCE]);
  END_EACH
  publish(flags, block, tid, 1);
  for (int t = 0; t < T; t++) {{
    float z[EPT][NZ];
    FOR_EACH_UNIT
      {_load_z(shapes)}
    END_EACH
    if (wait(flags, tid, t + 1, dead)) {{
      for (; t < T; t++) {{
        FOR_EACH_UNIT
          {" ".join(f"put(after{n}, AT(1, 0, t), NAN_F);" for n in each)}
        END_EACH
      }}
      return;
    }}
    PRODUCT(t & 1)
    float after[EPT][NC], own_now[EPT][NO];
    FOR_EACH_UNIT
      float r[R];
      _Pragma("unroll") for (int n = 0; n < R; n++) r[n] = summed(areas, n * U + j, b);
      step_forward(wt[i], state[i], z[i], r, after[i], own_now[i]);
      _Pragma("unroll") for (int n = 0; n < NC; n++) state[i][n] = after[i][n];
      if (t + 1 < T) {{
        {reset.format(t="t + 1", then=restart)}
        put(source, ((long)((t + 1) & 1) * B + b) * KP + unit, state[i][SOURCE]);
      }}
    END_EACH
    if (t + 1 < T) publish(flags, block, tid, t + 2);
    FOR_EACH_UNIT // what nobody waits for
      {" ".join(f"put(after{n}, AT(1, 0, t), after[i][{n}]);" for n in each)}
      {" ".join(f"put(own, AT(NO, {n}, t), own_now[i][{n}]);" for n in range(programs.own if keep else 0))}
    END_EACH
  }}"""
    function = (
        "DEVICE void step_forward(const float *wt, const float *state, const float *z, const float *r, "
        f"float *after, float *own) {{\n{programs.forward}\n}}"
    )
    cut = _plan(shapes, programs, backward=False)
    constants = _constants(shapes, programs, backward=False)
    return persistent.source(
        "lstm_jax_fused_forward", cut, constants, function, body, _inputs(shapes), outputs
    )


def backward_kernel(shapes: Shapes, programs: Programs, used: tuple[bool, ...]) -> Kernel:
    """The kernel of all steps backwards.

    Inputs: those of the forward, then the leaves of the carry after each step, own where there is any, and
    the gradients [T, B, H] of those leaves for which `used` is True. Outputs: the gradients of the smooth
    leaves of zs, of r [T, B, R, H] where they are not those of one of these (`shared_gradient`), of the
    carry's leaves [B, H] float32, of those of start where there are resets, of the weights by sequence [B, N,
    H] where there are any, and the exchange buffer.
    """
    each = range(len(shapes.carry))
    steps, batch, hidden = shapes.steps, shapes.batch, shapes.hidden
    inputs = _inputs(shapes)
    inputs += [Argument(f"after{n}", (steps, batch, hidden), dtype) for n, dtype in enumerate(shapes.carry)]
    if programs.own:
        inputs.append(Argument("own", (steps, batch, programs.own, hidden), jnp.float32))
    inputs += [Argument(f"g{n}", (steps, batch, hidden), shapes.carry[n]) for n in each if used[n]]

    outputs, writes, first = [], [], 0
    for index, (shape, dtype, smooth) in enumerate(shapes.zs):
        numbers = shapes.count(shape)
        if smooth:
            outputs.append(Argument(f"dz{index}", (steps, *shape), dtype))
            writes += [f"put(dz{index}, AT({numbers}, {n}, t), dz[{first + n}]);" for n in range(numbers)]
            first += numbers
    if shared_gradient(shapes, programs) is None:
        outputs.append(Argument("dr_all", (steps, batch, shapes.columns, hidden), jnp.float32))
        writes += [f"put(dr_all, AT(R, {n}, t), dr[{n}]);" for n in range(shapes.columns)]
    outputs += [Argument(f"d_carry{n}", (batch, hidden), jnp.float32) for n in each]
    last = [f"put(d_carry{n}, (long)b * H + unit, direct[i][{n}]);" for n in each]
    if shapes.resets:
        outputs += [Argument(f"d_start{n}", (batch, hidden), jnp.float32) for n in each]
        last += [f"put(d_start{n}, (long)b * H + unit, d_start[i][{n}]);" for n in each]
    if shapes.weights:
        outputs.append(Argument("d_weights", (batch, shapes.weights, hidden), jnp.float32))
        last.append("for (int n = 0; n < NWT; n++) put(d_weights, AT(NWT, n, 0), d_wt[i][n]);")
    outputs.append(_source_argument(shapes, shapes.columns * hidden))

    back_to_start = (
        "if (get(resets, (long)(t + 1) * B + b) != 0.0f) {"
        " for (int n = 0; n < NC; n++) { d_start[i][n] += direct[i][n]; direct[i][n] = 0.0f; } }"
    )
    began = " ".join(f"state[i][{n}] = get(start{n}, (long)b * H + unit);" for n in each)
    gradients = (f"g[i][{n}] = {f'get(g{n}, AT(1, 0, t))' if used[n] else '0.0f'};" for n in each)
    body = f"""
  float direct[EPT][NC], d_start[EPT][NC], d_wt[EPT][NWT > 0 ? NWT : 1];
  _Pragma("unroll") for (int i = 0; i < EPT; i++) {{
    for (int n = 0; n < NC; n++) direct[i][n] = d_start[i][n] = 0.0f;
    for (int n = 0; n < NWT; n++) d_wt[i][n] = 0.0f;
  }}
  for (int s = 0; s <= T; s++) {{
    int t = T - 1 - s;
    float z[EPT][NZ], own_now[EPT][NO], g[EPT][NC];
    if (s < T) {{
      FOR_EACH_UNIT
        {_load_z(shapes)}
        {" ".join(f"own_now[i][{n}] = get(own, AT(NO, {n}, t));" for n in range(programs.own))}
        {" ".join(gradients)}
        if (t == 0) {{ {" ".join(f"state[i][{n}] = get(carry{n}, (long)b * H + unit);" for n in each)} }}
        else {{ {" ".join(f"state[i][{n}] = get(after{n}, AT(1, 0, t - 1));" for n in each)} }}
        {f"if (get(resets, (long)t * B + b) != 0.0f) {{ {began} }}" if shapes.resets else ""}
      END_EACH
    }}
    if (s > 0) {{
      if (wait(flags, tid, s, dead)) {{
        FOR_EACH_UNIT
          float dz[NZ], dr[R];
          for (int n = 0; n < NZ; n++) dz[n] = NAN_F;
          for (int n = 0; n < R; n++) dr[n] = NAN_F;
          for (int n = 0; n < NC; n++) direct[i][n] = d_start[i][n] = NAN_F;
          for (int n = 0; n < NWT; n++) d_wt[i][n] = NAN_F;
          for (int left = t; left >= 0; left--) {{ int t = left; {" ".join(writes)} }}
          {" ".join(last)}
        END_EACH
        return;
      }}
      PRODUCT((s - 1) & 1)
      FOR_EACH_UNIT
        direct[i][SOURCE] += summed(areas, j, b);
        {back_to_start if shapes.resets else ""}
      END_EACH
    }}
    if (s == T) break;
    float dz_now[EPT][NZ], dr_now[EPT][R];
    FOR_EACH_UNIT
      float dw[NWT > 0 ? NWT : 1], dc[NC], *dz = dz_now[i], *dr = dr_now[i];
      _Pragma("unroll") for (int n = 0; n < NC; n++) g[i][n] += direct[i][n];
      step_backward(wt[i], state[i], z[i], own_now[i], g[i], dw, dc, dz, dr);
      _Pragma("unroll") for (int n = 0; n < NC; n++) direct[i][n] = dc[n];
      for (int n = 0; n < NWT; n++) d_wt[i][n] += dw[n];
      _Pragma("unroll") for (int n = 0; n < R; n++)
        put(source, ((long)(s & 1) * B + b) * KP + (long)n * H + unit, dr[n]);
    END_EACH
    publish(flags, block, tid, s + 1);
    FOR_EACH_UNIT // what nobody waits for
      const float *dz = dz_now[i], *dr = dr_now[i];
      {" ".join(writes)}
    END_EACH
  }}
  FOR_EACH_UNIT
    {" ".join(last)}
  END_EACH"""
    function = (
        "DEVICE void step_backward(const float *wt, const float *state, const float *z, const float *own, "
        f"const float *g, float *dw, float *dc, float *dz, float *dr) {{\n{programs.backward}\n}}"
    )
    cut = _plan(shapes, programs, backward=True)
    constants = _constants(shapes, programs, backward=True)
    return persistent.source("lstm_jax_fused_backward", cut, constants, function, body, inputs, outputs)
