"""Static evaluation: exact, token-weighted metrics of one pass over a split.

Carry policy: the carry starts at its initial value and goes from window to window over the whole split;
nothing is dropped at the end and padding is never scored. With one stream (the default) the figures
depend on neither window nor batch; the task says what more streams mean for it.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.models import Model
from lstm_jax.models.carry import from_start
from lstm_jax.support.notation import Array, Params, Tree
from lstm_jax.tasks.base import Metrics, Task

__all__ = ["Evaluator", "Progress", "make_evaluator", "make_members_evaluator"]

STEPS_PER_CALL = 64
"""Windows in one compiled call: long enough to hide dispatch, short enough for Ctrl-C to be heard."""

Progress = Callable[[int, int], None]
Evaluator = Callable[..., dict[str, float]]
"""(params, progress=None) -> metrics by name, as `task.report` gives them."""


def make_evaluator(task: Task, model: Model, split: str) -> Evaluator:
    """Compiles one pass over `split` ("train", "valid" or "test") into a function of the parameters.

    The function takes `progress`, called with (windows done, windows in all) after each compiled call;
    it may raise to stop; and `data`, to be read in place of the task's own (the same task of another seed).
    Sums are float32 within a call of at most 64 windows, float64 across calls.
    """
    run = jax.jit(_windows(task, model, split))

    def evaluate(
        params: Params, progress: Progress | None = None, data: Tree | None = None
    ) -> dict[str, float]:
        carry = model.carry(params, task.batch_sizes[split])
        totals = _totals(
            functools.partial(run, params, task.data if data is None else data),
            carry,
            task.pass_steps(split),
            progress,
        )
        return _figures(task, totals)

    return evaluate


def make_members_evaluator(
    task: Task, model: Model, split: str, shared: Tree
) -> Callable[[Sequence[Params], Tree, Progress | None], list[dict[str, float]]]:
    """As `make_evaluator`, of K runs at once: (params by run, data of all, progress) -> figures by run.

    Args:
      task, model, split: as there, of one run.
      shared: for each leaf of the data whether all runs share it; the others have an axis K first.
    """
    axes = jax.tree.map(lambda same: None if same else 0, shared)
    run = jax.jit(jax.vmap(_windows(task, model, split), in_axes=(0, axes, 0, None, None)))
    join = jax.jit(lambda trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees))

    def evaluate(
        params: Sequence[Params], data: Tree, progress: Progress | None = None
    ) -> list[dict[str, float]]:
        carry = join([model.carry(own, task.batch_sizes[split]) for own in params])
        one = functools.partial(run, join(params), data)
        totals = _totals(one, carry, task.pass_steps(split), progress)
        return [
            _figures(task, {name: (total[k], count[k]) for name, (total, count) in totals.items()})
            for k in range(len(params))
        ]

    return evaluate


def _windows(task: Task, model: Model, split: str) -> Callable[..., tuple[tuple, Metrics]]:
    """(params, data, carry, first, last) -> (carry, metrics summed over the windows from first to last)."""

    def window(params: Params, data: Tree, carry: tuple, step: Array, bucket: int) -> tuple:
        batch = task.batch(data, split, step, bucket)
        carry = from_start(model, params, carry, batch)
        outputs = model.apply(params, batch.inputs, carry, lengths=batch.lengths, resets=batch.resets)
        return outputs.carry, task.metrics(outputs.logits, batch)

    @jax.jit  # traced once, though named twice in `run`
    def one(params: Params, data: Tree, carry: tuple, step: Array) -> tuple:
        lengths = task.buckets[split]
        if len(lengths) == 1:
            return window(params, data, carry, step, 0)
        branches = [functools.partial(window, bucket=b) for b in range(len(lengths))]
        return jax.lax.switch(task.bucket(data, split, step), branches, params, data, carry, step)

    def run(params: Params, data: Tree, carry: tuple, first: Array, last: Array) -> tuple:
        shapes = jax.eval_shape(one, params, data, carry, first)[1]
        sums = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), shapes)

        def body(step: Array, loop: tuple) -> tuple:
            carry, sums = loop
            carry, new = one(params, data, carry, step)
            return carry, jax.tree.map(jnp.add, sums, new)

        return jax.lax.fori_loop(first, last, body, (carry, sums))

    return run


def _totals(
    run: Callable[[tuple, Array, Array], tuple[tuple, Metrics]],
    carry: tuple,
    steps: int,
    progress: Progress | None,
) -> dict[str, np.ndarray]:
    """The sums over `steps` windows: name -> [2] float64, or [2, K]."""
    totals: dict[str, np.ndarray] = {}
    for first in range(0, steps, STEPS_PER_CALL):
        last = min(first + STEPS_PER_CALL, steps)
        carry, sums = run(carry, jnp.int32(first), jnp.int32(last))
        for name, pair in jax.device_get(sums).items():
            new = np.asarray(pair, np.float64)
            totals[name] = totals[name] + new if name in totals else new
        if progress is not None:
            progress(last, steps)
    return totals


def _figures(task: Task, totals: Mapping[str, Any]) -> dict[str, float]:
    return task.report({name: float(total / count) for name, (total, count) in totals.items()})
