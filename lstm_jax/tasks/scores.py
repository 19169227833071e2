"""What a prediction costs and how it is counted: nats and accuracy of classes, squared error of values."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from lstm_jax.support.notation import Array
from lstm_jax.tasks.base import Batch, Metrics, Scores

__all__ = ["COSTS", "best_high", "classes", "nats", "squared_error", "values", "values_within"]

COSTS = ("nats", "perplexity", "bits_per_character", "bits_per_token", "squared_error")
"""Figures of the tasks that tell what a prediction costs, best low. Others are shares of what is right."""


def best_high(metric: str) -> bool:
    """Whether more of this figure of a task is better, see COSTS."""
    return metric not in COSTS


def nats(logits: Array, batch: Batch) -> Array:
    """Nats of every target, [T, B] float32, scored or not: logsumexp(logits) - logits[target].

    The target's logit is picked by a comparison and a sum, which XLA fuses and whose gradient is again a
    comparison, where an index would have a scatter over [T, B, V] as its gradient. On two CPU cores at
    T = B = 20, V = 10,000 a step costs about what it does with `models.loss.cross_entropy` (7 % by medians).

    Args:
      logits: [T, B, V].
      batch: the window; targets [T, B] integer classes.
    """
    logits = logits.astype(jnp.float32)
    hit = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1) == batch.targets[..., None]
    return jax.nn.logsumexp(logits, axis=-1) - jnp.where(hit, logits, 0.0).sum(axis=-1)


def squared_error(outputs: Array, batch: Batch) -> Array:
    """Squared error summed over the O values of each step, [T, B] float32, scored or not.

    Args:
      outputs: [T, B, O].
      batch: the window; targets [T, B, O].
    """
    return jnp.square(outputs.astype(jnp.float32) - batch.targets).sum(axis=-1)


def scored(batch: Batch) -> Array:
    """[T, B] bool: which steps are scored."""
    return jnp.ones(batch.inputs.shape[:2], bool) if batch.weights is None else batch.weights > 0


def total(values: Array, batch: Batch) -> tuple[Array, Array]:
    """(sum, count) of [T, B] values over the scored steps."""
    if batch.weights is None:
        return values.sum(), jnp.asarray(values.size, jnp.float32)
    scored = batch.weights > 0  # chosen, not multiplied: what is not scored may be anything, even inf
    return jnp.where(scored, values, 0.0).sum(), scored.sum(dtype=jnp.float32)


def _count_classes(logits: Array, batch: Batch) -> Metrics:
    right = (jnp.argmax(logits, axis=-1) == batch.targets).astype(jnp.float32)
    return {"nats": total(nats(logits, batch), batch), "accuracy": total(right, batch)}


def _count_values(outputs: Array, batch: Batch) -> Metrics:
    return {"squared_error": total(squared_error(outputs, batch), batch)}


def values_within(bound: float) -> Scores:
    """Real values: squared error, and as `correct` the share of steps with all O errors under `bound`."""

    def count(outputs: Array, batch: Batch) -> Metrics:
        errors = jnp.abs(outputs.astype(jnp.float32) - batch.targets).max(axis=-1)
        correct = total((errors < bound).astype(jnp.float32), batch)
        return _count_values(outputs, batch) | {"correct": correct}

    return Scores(squared_error, count)


def as_they_are(means: Mapping[str, float]) -> dict[str, float]:
    """The means themselves, for a task whose metrics are what a person reads."""
    return {name: float(mean) for name, mean in means.items()}


classes = Scores(nats, _count_classes)
"""Integer classes: nats, accuracy."""
values = Scores(squared_error, _count_values)
"""Real values: squared error."""
