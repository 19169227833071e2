"""What is minimised: cross-entropy, activation regularisation and weight penalties, each reported apart."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.cells.rates import absent
from lstm_jax.support.notation import Array, Params
from lstm_jax.support.registry import check_name
from lstm_jax.tasks.base import Batch
from lstm_jax.training.penalties import PENALTIES, penalised

__all__ = ["OVER_TIME", "Counts", "counts", "loss", "weight_penalties"]

OVER_TIME = ("mean", "sum")
"""mean over the scored tokens | sum over T of the mean over B."""


class Counts(NamedTuple):
    """Denominators of one window's means, float32 scalars.

    Attributes:
      tokens: scored steps, the sum of the weights within the lengths; T * B if nothing is masked.
      pairs: adjacent steps (t, t+1) that are both scored with no reset between; (T - 1) * B if nothing is.
    """

    tokens: Array
    pairs: Array


def _scored(batch: Batch) -> tuple[Array | None, Array | None]:
    """Weights of the steps [T, B] and of the pairs of adjacent steps [T - 1, B]; None where all count."""
    steps = None
    length = batch.inputs.shape[0]
    if batch.weights is not None:
        steps = batch.weights.astype(jnp.float32)
    if batch.lengths is not None:
        real = (jnp.arange(length)[:, None] < batch.lengths[None]).astype(jnp.float32)
        steps = real if steps is None else steps * real
    pairs = None if steps is None else steps[1:] * steps[:-1]
    if batch.resets is not None:
        # After a reset h_t+1 belongs to another sequence than h_t: their difference means nothing.
        joined = 1.0 - batch.resets[1:].astype(jnp.float32)
        pairs = joined if pairs is None else pairs * joined
    return steps, pairs


def counts(batch: Batch) -> Counts:
    """The denominators of `batch`, inputs [T, B] or [T, B, D].

    Under a named axis (pmap, shard_map) every device passes `lax.pmean(counts(batch), axis)` to `loss` and
    averages gradients and terms with `lax.pmean`: data terms come out as sums over all devices divided by
    the counts of all devices, also when the devices' counts differ, and weight penalties are not multiplied
    by the number of devices. Under jit the batch is global and nothing need be done.
    """
    length, width = batch.inputs.shape[:2]
    steps, pairs = _scored(batch)
    return Counts(
        jnp.float32(length * width) if steps is None else steps.sum(),
        jnp.float32((length - 1) * width) if pairs is None else pairs.sum(),
    )


def _mean(values: Array, weights: Array | None, count: Array) -> Array:
    """sum(weights * values) / count, 0 for a count of 0; a weight of 0 hides even a NaN. Both [T, B]."""
    if weights is not None:
        values = jnp.where(weights != 0, weights * values, 0.0)
    return values.sum() / jnp.where(count > 0, count, 1.0)


def weight_penalties(
    params: Params, *, l1: float | Array, l2: float | Array, penalty_mask: Sequence[str] = (".*",)
) -> tuple[Array, Array]:
    """(l1 * sum |w|, l2 / 2 * sum w^2) over the trainable leaves whose name matches, float32 scalars.

    The half makes l2 * w the gradient, which is the `weight_decay` of torch.

    Raises:
      UserError: a pattern matches no parameter.
    """
    chosen = penalised(params, penalty_mask)
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(chosen), strict=True)
    weights = [leaf for leaf, use in pairs if use]
    zero = jnp.float32(0)
    absolute = zero if absent(l1) else l1 * sum((jnp.abs(w).sum() for w in weights), zero)
    squared = zero if absent(l2) else l2 / 2 * sum((jnp.square(w).sum() for w in weights), zero)
    return absolute, squared


def loss(
    outputs: Any,
    batch: Batch,
    params: Params,
    *,
    task_loss: Callable[[Array, Batch], Array],
    count: Counts | None = None,
    over_time: str = "mean",
    l1: float | Array = 0.0,
    l2: float | Array = 0.0,
    penalty: str = "loss",
    penalty_mask: Sequence[str] = (".*",),
    ar: float | Array = 0.0,
    tar: float | Array = 0.0,
) -> tuple[Array, dict[str, Array]]:
    """The scalar to differentiate, and each of its terms.

    With D = task + ar + tar:
      over_time="mean": loss = D (+ l1 + l2 if penalty="loss")
      over_time="sum":  loss = D * tokens / B (+ l1 + l2 if penalty="loss")
    tokens / B is T where nothing is masked, so "sum" is the sum over T of the mean over B (Zaremba et al.
    2014). It scales the activation terms along with the cross-entropy: both are means over time of
    something that every step has, so `ar` and `tar` weigh the same against the cross-entropy under either
    convention, and "sum" at rate r steps exactly as "mean" at rate r * T. The weight penalties have no time
    axis and are not scaled (Melis et al. 2018 quote l2 against a loss summed over time).

    A step with weight 0 or past its sequence's length adds to no term; a reset between two steps removes
    their pair from `tar`.

    Args:
      outputs: a `models.Outputs`: logits [T, B, O]; hidden [T, B, H], the last layer's output before output
        dropout, which `tar` reads; dropped [T, B, H], after it, which `ar` reads (Merity et al. 2017, 4.4).
      batch: the window.
      params: parameters under their names; leaves ending in `_fixed` are never penalised.
      task_loss: (logits, batch) -> nats [T, B], unreduced and unmasked, e.g. of `cross_entropy`.
      count: denominators; None takes those of `batch`. See `counts` for several devices.
      over_time: one of OVER_TIME.
      l1: coefficient a of a * sum |w|.
      l2: coefficient a of a / 2 * sum w^2.
      penalty: one of PENALTIES; only under "loss" are l1 and l2 part of the loss, else just reported.
      penalty_mask: regular expressions over parameter names that l1 and l2 act on.
      ar: coefficient a of a * mean(dropped^2) over scored steps and H.
      tar: coefficient a of a * mean((h_t+1 - h_t)^2) over scored pairs and H.

    Returns:
      loss, and terms: float32 scalars `task` (mean of `task_loss` a scored step under either over_time),
      `l1`, `l2`, `ar`, `tar` (each times its coefficient) and `loss`. A literal coefficient of 0 costs
      nothing; coefficients may be traced.

    Raises:
      UserError: unknown over_time or penalty, or a pattern that matches no parameter.
    """
    check_name(over_time, OVER_TIME, "objective.over_time")
    check_name(penalty, PENALTIES, "objective.penalty")
    count = counts(batch) if count is None else count
    steps, pairs = _scored(batch)

    zero = jnp.float32(0)
    terms = {"task": _mean(task_loss(outputs.logits, batch), steps, count.tokens)}
    terms["ar"] = terms["tar"] = zero
    if not absent(ar):
        energy = jnp.square(outputs.dropped.astype(jnp.float32)).mean(-1)
        terms["ar"] = ar * _mean(energy, steps, count.tokens)
    if not absent(tar):
        hidden = outputs.hidden.astype(jnp.float32)
        change = jnp.square(hidden[1:] - hidden[:-1]).mean(-1)
        terms["tar"] = tar * _mean(change, pairs, count.pairs)
    total = terms["task"] + terms["ar"] + terms["tar"]
    if over_time == "sum":
        total = total * (count.tokens / batch.inputs.shape[1])

    terms["l1"], terms["l2"] = weight_penalties(params, l1=l1, l2=l2, penalty_mask=penalty_mask)
    if penalty == "loss":
        total = total + terms["l1"] + terms["l2"]
    terms["loss"] = total
    return total, terms
