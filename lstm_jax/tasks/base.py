"""What a task is: batches as a pure function of (split, step), metrics as sums, and its chance level."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.corpora.corpus import Corpus
from lstm_jax.corpora.encoder import Encoder
from lstm_jax.corpora.vocabulary import Vocabulary
from lstm_jax.support.notation import Array, Tree

__all__ = ["Batch", "Criterion", "Metrics", "Scores", "Task", "figure_names"]

Metrics = dict[str, tuple[Array, Array]]
"""name -> (sum, count), both scalars, so that batches of any size add up to an exact mean."""


class Batch(NamedTuple):
    """One window of B parallel sequences, time-major.

    Attributes:
      inputs: [T, B] integer tokens, or [T, B, D] features.
      targets: [T, B] integer classes, or [T, B, O] values.
      weights: [T, B] float32, 1 where the target is scored and 0 where it is not (padding, warm-up);
        None: every one is scored.
      lengths: [B] int32, steps of each sequence that are real; later steps leave the carry as it is;
        None: all T are.
      resets: [T, B] bool, True where the carry returns to its initial value before the step; None: nowhere.
      fresh: bool scalar, True where the carry returns to its initial value before the whole window
        (start of an epoch; every batch of independent sequences).
    """

    inputs: Array
    targets: Array
    weights: Array | None = None
    lengths: Array | None = None
    resets: Array | None = None
    fresh: Array | bool = False


class Scores(NamedTuple):
    """How predictions are scored.

    Attributes:
      loss: (logits [T, B, O], batch) -> [T, B], unreduced and unmasked: what is trained on.
      metrics: (logits [T, B, O], batch) -> Metrics over the scored steps, the mean of `loss` among them.
    """

    loss: Callable[[Array, Batch], Array]
    metrics: Callable[[Array, Batch], Metrics]


class Criterion(NamedTuple):
    """When a task counts as solved: `metric` at least (`above`) or at most (not `above`) `bound`."""

    metric: str
    bound: float
    above: bool

    def met(self, figures: Mapping[str, float]) -> bool:
        """Whether the figures of an evaluation meet it; a NaN never does."""
        value = figures[self.metric]
        return value >= self.bound if self.above else value <= self.bound

    def __str__(self) -> str:
        return f"{self.metric} {'>=' if self.above else '<='} {self.bound:g}"


class Task(NamedTuple):
    """A task: its data and pure functions of them.

    Attributes:
      name: as in TASKS.
      vocab: number of input tokens V, or None where inputs are features.
      input_dim: D of the input features, or None where inputs are tokens.
      outputs: number of classes (or regressed values) O of the head.
      data: pytree of device arrays passed to `batch` (an argument, never a closure, so that jit does
        not bake a corpus into the program). Leaves that have a batch axis carry it FIRST.
      batch_axes: the same structure as `data`: 0 where the leaf's axis 0 is the batch, None where the
        leaf is the same for all of the batch (the mesh shards by this). Only leaves of the training
        split may have 0: evaluation runs on every device with all of its batch.
      batch: (data, split, step, bucket) -> Batch. `split` and `bucket` are static, `step` may be traced.
      buckets: split -> the static window lengths T that occur, at least one.
      bucket: (data, split, step) -> int32 index into buckets[split]; traceable.
      steps: split -> number of steps of one pass over an evaluation split ("valid", "test").
      epoch_ends: [epochs] increasing step numbers of "train" at which each epoch ends.
      batch_sizes: split -> B.
      loss: (logits [T, B, O], batch) -> [T, B] nats (or squared error), unreduced and unmasked: what is
        trained on.
      metrics: (logits [T, B, O], batch) -> Metrics. Which one is the loss, `chance` tells: jit sorts the
        keys of what it returns.
      chance: figure -> its value on the test split for the best predictor that ignores the input (but may
        know the position t), in closed form; figures of `report`, the loss first, which is one of `metrics`.
      report: (name -> mean) -> the figures a person reads, e.g. perplexity from the mean nats.
      facts: what a run should print and record about the data (token counts, unk rate, baselines):
        plain numbers and strings, fit for JSON.
      solved: criteria that an evaluation must meet, all of them, for the task to count as solved; none: the
        task is never solved, only done better.
      corpus: where the task reads text, its vocabulary and flat tokens (a run saves the vocabulary,
        generation and dynamic evaluation need both); else None.
      encoder: where the task puts labels on texts, how it reads them (a run saves it, predicting needs it);
        else None.
    """

    name: str
    vocab: int | None
    input_dim: int | None
    outputs: int
    data: Tree
    batch_axes: Tree
    batch: Callable[[Tree, str, Array | int, int], Batch]
    buckets: Mapping[str, tuple[int, ...]]
    bucket: Callable[[Tree, str, Array | int], Array]
    steps: Mapping[str, int]
    epoch_ends: np.ndarray
    batch_sizes: Mapping[str, int]
    loss: Callable[[Array, Batch], Array]
    metrics: Callable[[Array, Batch], Metrics]
    chance: Mapping[str, float]
    report: Callable[[Mapping[str, float]], dict[str, float]]
    facts: Mapping[str, Any]
    solved: tuple[Criterion, ...] = ()
    corpus: Corpus | None = None
    encoder: Encoder | None = None

    @property
    def text_encoding(self) -> Vocabulary | Encoder | None:
        """How texts become numbers, which a run keeps; None of a task without texts."""
        return self.corpus.vocabulary if self.corpus is not None else self.encoder

    def pass_steps(self, split: str) -> int:
        """Number of steps of one pass over a split; of "train", of its first epoch."""
        return int(self.epoch_ends[0]) if split == "train" else self.steps[split]


def figure_names(task: Task) -> list[str]:
    """The figures of an evaluation of the task, as `report` orders them; computes none."""
    batch = jax.eval_shape(lambda data: task.batch(data, "test", 0, 0), task.data)
    logits = jax.ShapeDtypeStruct((*batch.inputs.shape[:2], task.outputs), jnp.float32)
    return list(task.report(dict.fromkeys(jax.eval_shape(task.metrics, logits, batch), 1.0)))
