"""Tasks whose sequences are drawn on the device, anew at every step: no data set, no end.

A task writes how ONE sequence is drawn from a key. This file draws B of them for (split, step): the key of a
row is a function of the seed, the task's name, the split, the step and the row, so a batch is the same on
one device as on eight, and after every resume.
"""

import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support import rng
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Tree
from lstm_jax.tasks import scores
from lstm_jax.tasks.base import Batch, Criterion, Scores, Task

__all__ = ["Example", "Generator", "at_length", "check", "check_real", "draws_lengths", "generated"]


class Example(NamedTuple):
    """One sequence.

    Attributes:
      inputs: [T] int32 tokens, or [T, D] float32 features.
      targets: [T] int32 classes, or [T, O] float32 values; anything where they are not scored.
      weights: [T] float32, 1 where the target is scored; None: everywhere.
      length: int32 scalar, steps that are real; None: all T. What lies beyond is not scored.
    """

    inputs: Array
    targets: Array
    weights: Array | None = None
    length: Array | None = None


class Generator(NamedTuple):
    """What a generated task is, apart from batches and seeds.

    Attributes:
      draw: (key) -> Example; pure, static shapes, called under jit and vmap; (key, n) -> Example where
        there are `lengths`.
      steps: T of every sequence.
      outputs: O, classes or values of the head.
      chance: metric -> its value for the best predictor that ignores the input, in closed form; the metrics
        of `scores`, the loss first.
      solved: criteria that an evaluation must meet for the task to count as solved.
      bits: log2 of the number of sequences that can be drawn with a fair chance, i.e. the entropy of a
        sequence: under about 40, splits share sequences, because there are no more.
      vocab: V of token inputs, or None; input_dim: D of features, or None.
      scores: how predictions are scored.
      facts: further facts for the run's log and its record.
      lengths: (least, most): every sequence has its own int32 length n, drawn evenly from these, both ends
        included. They are data and no constants, so that one compiled program evaluates many lengths
        (`at_length`). None: `draw` takes no length.
    """

    draw: Callable[..., Example]
    steps: int
    outputs: int
    chance: Mapping[str, float]
    solved: tuple[Criterion, ...]
    bits: float
    vocab: int | None = None
    input_dim: int | None = None
    scores: Scores = scores.classes
    facts: Mapping[str, Any] = {}
    lengths: tuple[int, int] | None = None


def at_length(task: Task, length: int) -> Task:
    """The same task where every sequence has this length; its compiled programs are those of `task`.

    Chance and facts stay those of `task`.

    Args:
      task: a generated task that draws its lengths, see `draws_lengths`.
      length: at most the one that `task` was made with: the steps of a sequence stay as they are.
    """
    return task._replace(data=task.data | {"lengths": jnp.full(2, length, jnp.int32)})


def draws_lengths(task: Task) -> bool:
    """Whether each sequence of the task has a length of its own, which `at_length` can set."""
    return isinstance(task.data, dict) and "lengths" in task.data


def check(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Raises UserError unless `value`, the task's argument `name`, is whole and least <= value (<= most)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise UserError(f"task.{name}={value!r} is not possible: it must be a whole number")
    _check_range(name, value, least, most)


def check_real(name: str, value: Any, least: float | None = None, most: float | None = None) -> None:
    """As `check`, for a number that need not be whole: raises UserError unless it is finite and in range.

    A limit of None is none.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise UserError(f"task.{name}={value!r} is not possible: it must be a finite number")
    _check_range(name, value, least, most)


def _check_range(name: str, value: Any, least: float | None, most: float | None) -> None:
    if (least is not None and value < least) or (most is not None and value > most):
        allowed = f"{least} or more" if most is None else f"between {least} and {most}"
        raise UserError(f"task.{name}={value} is not possible: it must be {allowed}")


def generated(name: str, make: Callable[..., Generator]) -> Callable[..., Task]:
    """The factory of a task from a function that describes its sequences.

    Args:
      name: as in TASKS.
      make: (*, its own options) -> Generator.

    Returns:
      The task's factory. Beside the options of `make` it takes:
        batch: B, sequences in a training step.
        epoch_steps: training steps in an epoch, after which the task is evaluated.
        eval_batch, eval_steps: sequences in a step of evaluation, and steps: eval_batch * eval_steps
          sequences are scored, the same ones every time.
        epochs, seed: of the run.
      It raises UserError for an argument that is not possible.
    """

    def factory(
        *,
        batch: int = 32,
        epoch_steps: int = 200,
        eval_batch: int = 128,
        eval_steps: int = 4,
        epochs: int,
        seed: int,
        **options: Any,
    ) -> Task:
        sizes = dict(batch=batch, epoch_steps=epoch_steps, eval_batch=eval_batch, eval_steps=eval_steps)
        for argument, value in sizes.items():
            check(argument, value, 1)
        if epochs < 1:
            raise UserError(f"epochs={epochs} is not possible: it must be 1 or more")
        made = make(**options)
        return _task(name, made, batch, eval_batch, eval_steps, epoch_steps, epochs, seed)

    frame = [p for p in inspect.signature(factory).parameters.values() if p.kind is p.KEYWORD_ONLY]
    own = list(inspect.signature(make).parameters.values())
    factory.__signature__ = inspect.Signature([*own, *frame])  # type: ignore[attr-defined]
    factory.__doc__ = make.__doc__
    factory.__name__ = name
    return factory


def _task(
    name: str,
    made: Generator,
    batch: int,
    eval_batch: int,
    eval_steps: int,
    epoch_steps: int,
    epochs: int,
    seed: int,
) -> Task:
    batch_sizes = {"train": batch, "valid": eval_batch, "test": eval_batch}

    def batch_at(data: Tree, split: str, step: Array | int, bucket: int = 0) -> Batch:
        step = jnp.asarray(step, jnp.int32)
        if split != "train":  # the same sequences at every pass
            step = step % eval_steps
        key = rng.stream(jax.random.wrap_key_data(data["key"]), f"{name}/{split}", step)

        def row(index: Array) -> Example:
            own = jax.random.fold_in(key, index)
            if made.lengths is None:
                return made.draw(own)
            end, own = jax.random.split(own)
            least, most = data["lengths"]
            return made.draw(own, jax.random.randint(end, (), least, most + 1, jnp.int32))

        rows = jax.vmap(row)(data[split]["row"])
        in_time = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), rows._replace(length=None))
        return Batch(in_time.inputs, in_time.targets, in_time.weights, rows.length, None, True)

    # The key is data and no constant of the program, so that runs of all seeds share one compile.
    data = {split: {"row": jnp.arange(rows, dtype=jnp.int32)} for split, rows in batch_sizes.items()}
    axes = {split: {"row": 0 if split == "train" else None} for split in batch_sizes}
    spans = {} if made.lengths is None else {"lengths": jnp.asarray(made.lengths, jnp.int32)}
    return Task(
        name=name,
        vocab=made.vocab,
        input_dim=made.input_dim,
        outputs=made.outputs,
        data=data | {"key": jax.random.key_data(jax.random.key(seed))} | spans,
        batch_axes=axes | {"key": None} | dict.fromkeys(spans),
        batch=batch_at,
        buckets=dict.fromkeys(batch_sizes, (made.steps,)),
        bucket=lambda data, split, step: jnp.zeros((), jnp.int32),
        steps={"valid": eval_steps, "test": eval_steps},
        epoch_ends=epoch_steps * np.arange(1, epochs + 1, dtype=np.int64),
        batch_sizes=batch_sizes,
        loss=made.scores.loss,
        metrics=made.scores.metrics,
        chance=dict(made.chance),
        report=scores.as_they_are,
        facts={
            "steps_of_a_sequence": made.steps,
            "bits_of_a_sequence": float(made.bits),
            **{f"chance_{metric}": float(value) for metric, value in made.chance.items()},
            "solved_when": " and ".join(map(str, made.solved)),
            **made.facts,
        },
        solved=made.solved,
    )
