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
from lstm_jax.state import from_start
from lstm_jax.tasks.base import Task

__all__ = ["Evaluator", "make_evaluator"]

STEPS_PER_CALL = 64
"""Windows in one compiled call: long enough to hide dispatch, short enough for Ctrl-C to be heard."""

Progress = Callable[[int, int], None]
Evaluator = Callable[..., dict[str, float]]
"""(params, progress=None) -> metrics by name, as `task.report` gives them."""


def make_evaluator(task: Task, model: Model, split: str) -> Evaluator:
    """Compiles one pass over `split` ("valid" or "test") into a function of the parameters.

    The function takes `progress`, called with (windows done, windows in all) after each compiled call;
    it may raise to stop. Sums are float32 within a call of at most 64 windows, float64 across calls.
    """

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

    @jax.jit
    def run(params: Params, data: Tree, carry: tuple, first: Array, last: Array) -> tuple:
        shapes = jax.eval_shape(one, params, data, carry, first)[1]
        sums = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), shapes)

        def body(step: Array, loop: tuple) -> tuple:
            carry, sums = loop
            carry, new = one(params, data, carry, step)
            return carry, jax.tree.map(jnp.add, sums, new)

        return jax.lax.fori_loop(first, last, body, (carry, sums))

    def evaluate(params: Params, progress: Progress | None = None) -> dict[str, float]:
        steps = task.steps[split]
        carry = model.carry(params, task.batch_sizes[split])
        totals: dict[str, np.ndarray] = {}
        for first in range(0, steps, STEPS_PER_CALL):
            last = min(first + STEPS_PER_CALL, steps)
            carry, sums = run(params, task.data, carry, jnp.int32(first), jnp.int32(last))
            for name, pair in jax.device_get(sums).items():
                totals[name] = totals.get(name, np.zeros(2)) + np.asarray(pair, np.float64)
            if progress is not None:
                progress(last, steps)
        return task.report({name: float(total / count) for name, (total, count) in totals.items()})

    return evaluate
