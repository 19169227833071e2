"""Time and memory of the backends over T, beside each other, and the iterations that Newton's method takes.

    python benchmarks/parallel_in_time.py                              # T = 64 to 65,536, H = 32, 128, 512
    python benchmarks/parallel_in_time.py --hidden=32 --steps=64,1024 --cells=para_gru
    python benchmarks/parallel_in_time.py --training                   # iterations while a model trains

Prints a JSON line a measurement. `ratio` is the time over the scan's of the same cell and shape, in the same
run: above 1 the backend loses. What was found is in docs/parallel_in_time.md.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax import cells, tasks
from lstm_jax.support.errors import UserError
from lstm_jax.unroll import choose, unroll
from lstm_jax.unroll.newton import unroll_with_effort

BACKENDS = ("scan", "newton", "associative")
MOST_BYTES = 2 * 2**30
"""Programs that need more temporary memory are compiled, reported and not run."""


def measure(
    cell: str, hidden: int, steps: int, batch: int, backend: str, *, gradient: bool = True, rounds: int = 3
) -> dict[str, Any]:
    """Times one backend at one shape, D = H, float32.

    Args:
      cell: a name of CELLS.
      hidden: H.
      steps: T.
      batch: B.
      backend: a name of BACKENDS.
      gradient: forward and backward with respect to params and inputs; False: forward.
      rounds: timed calls, of which the least counts.

    Returns:
      seconds, compile_seconds, temporary_bytes, iterations and sequential steps (newton); or `reason` where
      the backend does not serve the cell or needs more than MOST_BYTES.
    """
    row: dict[str, Any] = dict(cell=cell, hidden=hidden, steps=steps, batch=batch, backend=backend)
    row["what"] = "forward + backward" if gradient else "forward"
    made = cells.make_cell(cell, hidden)
    try:
        choose(made, backend)
    except UserError as error:
        return row | {"reason": str(error)}
    params = made.init(jax.random.key(0), hidden)
    xs = jax.random.normal(jax.random.key(1), (steps, batch, hidden))

    def loss(params: Any, xs: jax.Array) -> jax.Array:
        return jnp.mean(jnp.square(unroll(made, params, xs, backend=backend).ys))

    function = jax.grad(loss, (0, 1)) if gradient else loss
    began = time.perf_counter()
    compiled = jax.jit(function).lower(params, xs).compile()
    row["compile_seconds"] = time.perf_counter() - began
    analysis = compiled.memory_analysis()
    row["temporary_bytes"] = int(analysis.temp_size_in_bytes) if analysis else None
    if row["temporary_bytes"] and row["temporary_bytes"] > MOST_BYTES:
        return row | {"reason": f"it needs {row['temporary_bytes'] / 2**30:.1f} GiB"}
    jax.block_until_ready(compiled(params, xs))
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        jax.block_until_ready(compiled(params, xs))
        taken.append(time.perf_counter() - began)
    row |= {"seconds": min(taken), "median_seconds": statistics.median(taken)}
    if backend == "newton":
        effort = jax.jit(lambda params, xs: unroll_with_effort(made, params, xs)[1])(params, xs)
        row |= {"iterations": int(effort.iterations[0]), "sequential": int(effort.sequential.sum())}
    return row


def over_time(
    names: list[str], hidden: list[int], lengths: list[int], batch: int, gradient: bool, seconds: float
) -> Iterator[dict[str, Any]]:
    """Yields a row a measurement, with its ratio to the scan; ends after `seconds`."""
    end = time.perf_counter() + seconds
    for name in names:
        for width in hidden:
            for steps in lengths:
                scan = None
                for backend in BACKENDS:
                    if time.perf_counter() > end:
                        return
                    row = measure(name, width, steps, batch, backend, gradient=gradient)
                    if backend == "scan":
                        scan = row.get("seconds")
                    elif scan and "seconds" in row:
                        row["ratio"] = row["seconds"] / scan
                    yield row


def while_training(
    name: str, task: str, *, every: int, updates: int, **fields: Any
) -> Iterator[dict[str, Any]]:
    """Yields the iterations on a batch of valid, every `every` updates of clipped gradient descent."""
    made_task = tasks.make_task(task, epochs=1, seed=1, **fields)
    cell = cells.make_cell(name, 32)
    raw = made_task.batch(made_task.data, "train", 0, 0)
    width = made_task.vocab or made_task.input_dim
    params = {
        "cell": cell.init(jax.random.key(0), width),
        "head": 0.1 * jax.random.normal(jax.random.key(1), (cell.output_dim, made_task.outputs)),
    }
    velocity = jax.tree.map(jnp.zeros_like, params)

    def features(batch: Any) -> jax.Array:
        return jax.nn.one_hot(batch.inputs, width) if made_task.vocab else batch.inputs

    def loss(params: Any, batch: Any) -> jax.Array:
        ys = unroll(cell, params["cell"], features(batch)).ys
        each = made_task.loss(ys @ params["head"], batch)
        weights = jnp.ones_like(each) if batch.weights is None else batch.weights
        return jnp.sum(each * weights) / jnp.sum(weights)

    @jax.jit
    def update(params: Any, velocity: Any, step: jax.Array) -> Any:
        value, slope = jax.value_and_grad(loss)(params, made_task.batch(made_task.data, "train", step, 0))
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(slope)))
        velocity = jax.tree.map(lambda v, g: 0.9 * v - 0.1 * g / jnp.maximum(norm, 1.0), velocity, slope)
        return jax.tree.map(jnp.add, params, velocity), velocity, value

    effort_of = jax.jit(lambda params, batch: unroll_with_effort(cell, params, features(batch))[1])
    value = None
    for step in range(updates + 1):
        if step % every == 0:
            effort = effort_of(params["cell"], made_task.batch(made_task.data, "valid", 0, 0))
            row = {
                "cell": name,
                "task": task,
                "update": step,
                "loss": None if value is None else float(value),
                "steps": raw.inputs.shape[0],
            }
            yield row | {"iterations": int(effort.iterations[0]), "sequential": int(effort.sequential.sum())}
        params, velocity, value = update(params, velocity, jnp.asarray(step))


TRAINING: dict[str, dict[str, Any]] = {
    "delayed_recall": {"length": 50},
    "adding": {"length": 50},
    "parity": {"length": 20},
    "language_model": {"corpus": "pydoc", "level": "char", "batch": 20, "window": 200},
}
"""Tasks on which iterations are counted over training, and their fields."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", default="para_lstm,para_gru,min_lstm,lstm")
    parser.add_argument("--hidden", default="32,128,512")
    parser.add_argument("--steps", default="64,256,1024,4096,16384,65536")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=600.0, help="no measurement begins after that")
    parser.add_argument("--forward", action="store_true", help="without gradients")
    parser.add_argument("--training", action="store_true", help="iterations over training instead")
    parser.add_argument("--updates", type=int, default=600)
    given = parser.parse_args()
    names = given.cells.split(",")
    if given.training:
        options = dict(every=max(given.updates // 4, 1), updates=given.updates)
        rows = (
            row
            for task in TRAINING
            for name in names
            for row in while_training(name, task, **options, **TRAINING[task])
        )
    else:
        hidden, lengths = ([int(n) for n in text.split(",")] for text in (given.hidden, given.steps))
        rows = over_time(names, hidden, lengths, given.batch, not given.forward, given.seconds)
    for row in rows:
        print(json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


if __name__ == "__main__":
    main()
