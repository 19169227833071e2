"""A run's data through its model, window by window: what the gates are measured on."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.analysis.instruments.base import Progress
from lstm_jax.models import Outputs
from lstm_jax.models.carry import from_start
from lstm_jax.predict import Run
from lstm_jax.support.notation import Array, Params, Tree
from lstm_jax.tasks.base import Batch

__all__ = ["Total", "add_up", "batches", "kind_of", "real_steps", "unit_of", "without_gate"]


class Total(NamedTuple):
    """Sums over the windows of a split.

    Attributes:
      sums: float64, of the structure that the measure gave.
      steps: real steps that were read, all sequences together.
    """

    sums: Tree
    steps: int


def unit_of(run: Run) -> str:
    """What a step of the run is called on an axis."""
    if not run.is_language_model:
        return "steps"
    return "characters" if run.vocabulary.level == "char" else "tokens"


def kind_of(run: Run) -> str:
    """What the run's network is, for a message: its cell, or its model where that is not `recurrent`."""
    section = run.config["model"]
    if (model := section.get("name", "recurrent")) != "recurrent":
        return f"model {model!r}"
    return f"cell {section['cell']['name']!r}"


def without_gate(run: Run, name: str) -> str | None:
    """The reason why an instrument that reads the gate `name` of every layer does not fit; else None."""
    for traced in run.traced:
        if name not in traced:
            has = f"it has {', '.join(sorted(traced))}" if traced else "it has no gates at all"
            return f"the {kind_of(run)} has no gate {name!r}: {has}"
    return None


def real_steps(batch: Batch) -> Array:
    """[T, B] bool: steps that are part of a sequence, scored or not."""
    steps, rows = batch.inputs.shape[:2]
    if batch.lengths is None:
        return jnp.ones((steps, rows), bool)
    return jnp.arange(steps)[:, None] < batch.lengths


def batches(run: Run, split: str) -> Iterator[Batch]:
    """The windows of one pass over a split, in order; the task's own, as evaluation reads them."""
    task = run.task
    for step in range(task.pass_steps(split)):
        bucket = int(task.bucket(task.data, split, step))
        yield task.batch(task.data, split, step, bucket)


def add_up(
    run: Run,
    params: Params,
    split: str,
    tokens: int,
    measure: Callable[[Outputs, Batch, Array], Tree],
    progress: Progress,
) -> Total:
    """Sums `measure` over windows until `tokens` steps are read; the carry goes from window to window.

    Args:
      run: gives task and model.
      params: of the model.
      split: train, valid or test.
      tokens: steps to read, at least; less where the split is shorter.
      measure: (outputs, batch, real [T, B]) -> a tree of float32 sums; what it does not use of the outputs
        (logits, as a rule) costs nothing.
      progress: called with (steps read, tokens).
    """

    @jax.jit
    def window(params: Params, carry: tuple, batch: Batch) -> tuple[tuple, Tree, Array]:
        carry = from_start(run.model, params, carry, batch)
        outputs = run.model.apply(params, batch.inputs, carry, lengths=batch.lengths, resets=batch.resets)
        real = real_steps(batch)
        return outputs.carry, measure(outputs, batch, real), real.sum()

    carry = run.model.carry(params, run.task.batch_sizes[split])
    total, read = None, 0
    for batch in batches(run, split):
        carry, sums, count = window(params, carry, batch)
        sums = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), jax.device_get(sums))
        total = sums if total is None else jax.tree.map(np.add, total, sums)
        read += int(count)
        progress(min(read, tokens), tokens)
        if read >= tokens:
            break
    return Total(total, read)
