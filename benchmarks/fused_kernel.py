"""The fused backend on a GPU: is it right, and what does a step cost beside the scan and cuDNN?

    python benchmarks/fused_kernel.py --out=DIR [--seconds=170] [--only=lstm] [--cpu]
    python benchmarks/fused_kernel.py --kernels --out=DIR --seconds=60

Every case runs in a process of its own with a time limit, so that a crash or a hang takes nothing else down.
Each adds one line to DIR/fused.jsonl: the relative errors (L2) of values and gradients against the scan at
matmul precision "highest", whether they are small enough, and microseconds a step (least of 5 rounds),
forward and forward + backward, of one layer [T, B, H] -> [T, B, H] with its input projection. `--cpu` runs
the script itself in miniature without a GPU, the scan in the place of the kernel.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIMIT = 40
"""Seconds for one case."""


class Case(NamedTuple):
    """One line of the result."""

    cell: str
    hidden: int
    dtype: str
    steps: int = 35
    batch: int = 20
    timed: bool = True


CASES = [
    Case("lstm", 48, "float32", steps=7, timed=False),
    Case("lstm", 48, "bfloat16", steps=7, timed=False),
    Case("lstm", 650, "bfloat16"),
    Case("lstm", 1500, "bfloat16"),
    Case("gru", 48, "float32", steps=7, timed=False),
    Case("peephole", 48, "float32", steps=7, timed=False),
    Case("lstm", 200, "bfloat16"),
    Case("lstm", 1150, "bfloat16"),
    Case("janet", 48, "float32", steps=7, timed=False),
    Case("lstm", 650, "float32"),
    Case("gru", 650, "bfloat16"),
    Case("janet", 650, "bfloat16"),
    Case("peephole", 650, "bfloat16"),
    Case("lstm", 200, "float32"),
    Case("lstm", 1500, "float32"),
]
"""In order of worth: what comes late may fall to the time limit."""
SMALL_ENOUGH = {"float32": 2e-4, "bfloat16": 4e-2}
"""Relative errors: float32 by three tf32 products; bfloat16 keeps 4e-3 a rounding, and T of them follow."""


def measure(case: Case, *, cpu: bool) -> dict[str, Any]:
    """Runs one case in this process."""
    sys.path.insert(0, str(ROOT))
    import jax
    import jax.numpy as jnp
    import numpy as np

    from lstm_jax import cells, unroll

    dtype = jnp.dtype(case.dtype)
    steps, batch, hidden = (3, 2, 8) if cpu else (case.steps, case.batch, case.hidden)
    cell = cells.CELLS[case.cell](hidden, dtype=dtype)
    keys = jax.random.split(jax.random.key(0), 3)
    params = cell.init(keys[0], hidden)
    xs = jax.random.normal(keys[1], (steps, batch, hidden))
    weigh = jax.random.normal(keys[2], (steps, batch, hidden))
    carry = jax.tree.map(lambda leaf: leaf + 0.1, cell.carry(params, batch))

    def of(backend: str, *, cell: Any = cell, grad: bool = True) -> Any:
        def loss(params: Any, xs: Any, carry: Any) -> Any:
            out = unroll.unroll(cell, params, xs, carry, backend=backend)
            ends = sum(jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(out.carry))
            return jnp.mean(out.ys * weigh) + 1e-3 * ends, (out.carry, out.ys)

        run = jax.value_and_grad(loss, (0, 1, 2), has_aux=True) if grad else loss
        return jax.jit(run)

    def compared(one: Any, two: Any) -> dict[str, float]:
        errors = {}
        pairs = zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(two), strict=True)
        for (path, a), d in pairs:
            a, d = (np.asarray(leaf, np.float64) for leaf in (a, d))
            errors[jax.tree_util.keystr(path)] = float(np.linalg.norm(a - d) / max(np.linalg.norm(d), 1e-30))
        return errors

    kernel = "scan" if cpu else "fused"
    result: dict[str, Any] = dict(case._asdict(), device=jax.devices()[0].device_kind, jax=jax.__version__)
    with jax.default_matmul_precision("highest"):
        exact = of("scan")(params, xs, carry)
        got = jax.block_until_ready(of(kernel)(params, xs, carry))
    result["errors"] = compared(got, exact)
    result["worst"] = max(result["errors"].values(), key=lambda e: np.inf if np.isnan(e) else e)
    result["ok"] = bool(result["worst"] < SMALL_ENOUGH[case.dtype])
    plain = of("scan")(params, xs, carry)
    result["worst_of_the_scan_itself"] = max(compared(plain, exact).values())
    if case.timed:
        result["us_a_step"] = {}
        for backend in (kernel, "scan", *(["cudnn"] if case.cell == "lstm" and not cpu else [])):
            one = cells.lstm(hidden) if backend == "cudnn" else cell  # cuDNN serves float32
            begin = None if backend == "cudnn" else carry
            try:
                result["us_a_step"][backend] = {
                    what: timed(of(backend, cell=one, grad=grad), (params, xs, begin), steps)
                    for what, grad in (("forward", False), ("both", True))
                }
            except Exception as error:
                result["us_a_step"][backend] = f"{type(error).__name__}: {str(error)[:300]}"
    return result


VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"CLUSTERS": (1, 2)},
    {"CLUSTERS": (1, 4)},
    {"CLUSTERS": (2, 2)},
    {"RING": 3},
    {"WARPS": 4},
)
"""Constants of `persistent` at other values, for `--kernels`."""


def kernels(flags: Any) -> None:
    """Microseconds a step and a launch of each kernel by itself, from T = 35 and T = 140.

    `off` is how far (L2, relative) its h or gradient of the first h is from that without the variant.
    """
    sys.path.insert(0, str(ROOT))
    import jax

    from lstm_jax.unroll import persistent

    begun, reference = time.monotonic(), dict[tuple[int, str], Any]()
    for variant in VARIANTS:
        for hidden in (1500, 1150, 650, *((200,) if not variant else ())):
            if time.monotonic() - begun > flags.seconds:
                return
            row: dict[str, Any] = dict(hidden=hidden, variant=variant, device=jax.devices()[0].device_kind)
            defaults = {name: getattr(persistent, name) for name in variant}
            for name, value in variant.items():
                setattr(persistent, name, value)
            try:
                row |= _kernel_times(hidden, reference)
            except Exception as error:
                row["failed"] = f"{type(error).__name__}: {str(error)[:300]}"
            for name, value in defaults.items():
                setattr(persistent, name, value)
            with (flags.out / "fused.jsonl").open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


def _kernel_times(hidden: int, reference: dict[tuple[int, str], Any]) -> dict[str, Any]:
    """Both kernels of one size; `reference` takes the first results, and gives them to later calls."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from lstm_jax.unroll import persistent

    found: dict[str, list[float]] = {}
    off = {}
    for steps in (35, 140):
        for what, kernel in _both_kernels(hidden, steps).items():
            keys = jax.random.split(jax.random.key(0), len(kernel.inputs))
            scales = [0.5 / hidden**0.5 if a.name == "w" else 0.1 for a in kernel.inputs]  # not chaotic
            arrays = [
                jnp.asarray(scale * jax.random.normal(k, a.shape), a.dtype)
                for k, a, scale in zip(keys, kernel.inputs, scales, strict=True)
            ]
            run = jax.jit(lambda *arrays, kernel=kernel: persistent.launch(kernel, arrays))
            found.setdefault(what, []).append(timed(run, arrays, 1))
            wanted = {"forward": "after1", "backward": "d_carry1"}[what]
            index = [output.name for output in kernel.outputs].index(wanted)
            got = np.asarray(run(*arrays)[index], np.float64)
            due = reference.setdefault((hidden, f"{what}{steps}"), got)
            off[what] = float(np.linalg.norm(got - due) / np.linalg.norm(due))
    times = {}
    for what, (few, many) in found.items():
        step = (many - few) / (140 - 35)
        times[what] = dict(us_a_step=step, us_a_launch=few - 35 * step, off=off[what])
    return times


def _both_kernels(hidden: int, steps: int) -> dict[str, Any]:
    """The LSTM's two kernels in bfloat16 at B = 20, as a training step has them."""
    import jax
    import jax.numpy as jnp

    from lstm_jax import cells
    from lstm_jax.unroll import fused, fused_kernels

    cell = cells.lstm(hidden, dtype=jnp.bfloat16)
    made: dict[str, Any] = {}

    def trace(params: Any, xs: Any) -> None:
        seen, zs = cell.prepare(params, xs, None)
        parts = fused._parts(cell, seen, cell.carry(params, 20), zs, resets=False)
        made["forward"] = fused_kernels.forward_kernel(parts.shapes, parts.programs, keep=True)
        made["backward"] = fused_kernels.backward_kernel(parts.shapes, parts.programs, (False, True))

    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 1))
    jax.eval_shape(trace, params, jax.ShapeDtypeStruct((steps, 20, 1), jnp.bfloat16))
    return made


def timed(run: Any, args: Any, steps: int, calls: int = 20) -> float:
    """Microseconds a step, the least of 5 rounds of `calls` calls."""
    import jax

    jax.block_until_ready(run(*args))
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(calls):
            out = run(*args)
        jax.block_until_ready(out)
        best = min(best, time.perf_counter() - begun)
    return best / calls / steps * 1e6


def main() -> int:
    """Runs the cases that fit into the time, each in its process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path())
    parser.add_argument("--seconds", type=float, default=170, help="for all cases together")
    parser.add_argument("--only", default="", help="cases whose line has this in it")
    parser.add_argument("--cpu", action="store_true", help="the script itself in miniature, without a GPU")
    parser.add_argument("--kernels", action="store_true", help="instead: the two kernels alone, and variants")
    parser.add_argument("--case", type=int, help="one case in this process (internal)")
    flags = parser.parse_args()
    if flags.case is not None:
        print("RESULT " + json.dumps(measure(CASES[flags.case], cpu=flags.cpu)))
        return 0
    flags.out.mkdir(parents=True, exist_ok=True)
    if flags.kernels:
        kernels(flags)
        return 0
    begun, good = time.monotonic(), True
    for index, case in enumerate(CASES):
        left = flags.seconds - (time.monotonic() - begun)
        if flags.only not in str(case) or left < 12:
            continue
        result = dict(case._asdict(), **in_a_process(index, flags, min(LIMIT, left)))
        good &= bool(result.get("ok"))
        with (flags.out / "fused.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(result) + "\n")
        shown = {k: result.get(k) for k in ("ok", "worst", "us_a_step", "failed", "seconds") if k in result}
        print(f"{case.cell} H={case.hidden} {case.dtype}: {json.dumps(shown)}", flush=True)
    return 0 if good else 1


def in_a_process(index: int, flags: Any, limit: float) -> dict[str, Any]:
    """What one case printed, or how it failed."""
    command = [sys.executable, __file__, f"--case={index}", *(["--cpu"] if flags.cpu else [])]
    env = dict(os.environ, XLA_PYTHON_CLIENT_PREALLOCATE="false")
    begun = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=env, check=False)
    except subprocess.TimeoutExpired as late:
        said = (
            (late.stderr or b"").decode(errors="replace") if isinstance(late.stderr, bytes) else late.stderr
        )
        return {"failed": f"no end in {limit:.0f} s", "stderr": (said or "")[-2000:]}
    seconds = round(time.monotonic() - begun, 1)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line[len("RESULT ") :]) | {"seconds": seconds}
    return {"failed": f"exit status {done.returncode}", "stderr": done.stderr[-3000:], "seconds": seconds}


if __name__ == "__main__":
    sys.exit(main())
