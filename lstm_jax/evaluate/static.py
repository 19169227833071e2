"""Static evaluation: exact, token-weighted metrics of one pass over a split.

Carry policy: the carry starts at its initial value and goes from window to window over the whole split;
nothing is dropped at the end and padding is never scored. With one stream (the default) the figures
depend on neither window nor batch; the task says what more streams mean for it.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.models import Model
from lstm_jax.notation import Array, Params, Tree
from lstm_jax.tasks.base import Task

__all__ = ["evaluate"]

STEPS_PER_CALL = 64
"""Windows in one compiled call: long enough to hide dispatch, short enough for Ctrl-C to be heard."""


@functools.lru_cache(maxsize=8)
def _compiled(task_key: "_ByIdentity", model_key: "_ByIdentity", split: str) -> Callable:
    task, model = task_key.value, model_key.value

    def window(params: Params, data: Tree, carry: tuple, step: Array, bucket: int) -> tuple:
        batch = task.batch(data, split, step, bucket)
        start = model.carry(params, batch.inputs.shape[1])
        carry = jax.tree.map(lambda new, old: jnp.where(batch.fresh, new, old), start, carry)
        outputs = model.apply(params, batch.inputs, carry, lengths=batch.lengths, resets=batch.resets)
        return outputs.carry, task.metrics(outputs.logits, batch)

    def step_fn(params: Params, data: Tree, carry: tuple, step: Array) -> tuple:
        lengths = task.buckets[split]
        if len(lengths) == 1:
            return window(params, data, carry, step, 0)
        branches = [functools.partial(window, bucket=b) for b in range(len(lengths))]
        return jax.lax.switch(task.bucket(data, split, step), branches, params, data, carry, step)

    @jax.jit
    def run(params: Params, data: Tree, carry: tuple, first: Array, last: Array) -> tuple:
        shapes = jax.eval_shape(step_fn, params, data, carry, first)[1]
        sums = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), shapes)

        def body(step: Array, loop: tuple) -> tuple:
            carry, sums = loop
            carry, new = step_fn(params, data, carry, step)
            return carry, jax.tree.map(jnp.add, sums, new)

        return jax.lax.fori_loop(first, last, body, (carry, sums))

    return run


class _ByIdentity:
    """A hashable handle, so that compiled evaluations are kept for as long as the task and model are."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and self.value is other.value


def evaluate(
    task: Task,
    model: Model,
    params: Params,
    split: str,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Metrics of `params` on one pass over `split`, as `task.report` gives them.

    Sums are float32 within a call of at most 64 windows and float64 across calls.

    Args:
      task, model, params: as trained.
      split: an evaluation split of the task, "valid" or "test".
      progress: called with (windows done, windows in all) after each compiled call; may raise to stop.
    """
    run = _compiled(_ByIdentity(task), _ByIdentity(model), split)
    steps = task.steps[split]
    carry = model.carry(params, task.batch_sizes[split])
    totals: dict[str, np.ndarray] = {}
    for first in range(0, steps, STEPS_PER_CALL):
        last = min(first + STEPS_PER_CALL, steps)
        carry, sums = run(params, task.data, carry, jnp.asarray(first), jnp.asarray(last))
        for name, pair in jax.device_get(sums).items():
            totals[name] = totals.get(name, np.zeros(2)) + np.asarray(pair, np.float64)
        if progress is not None:
            progress(last, steps)
    return task.report({name: float(total / count) for name, (total, count) in totals.items()})
