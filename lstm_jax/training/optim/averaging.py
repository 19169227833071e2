"""Averaged SGD: when to start averaging the weights (NT-ASGD), and the running mean itself."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params

__all__ = ["Average", "averaged", "averaging_from", "start_average", "update_average"]


def averaging_from(history: Sequence[float], after: int) -> int | None:
    """Index of the evaluation that starts averaging, or None while none has.

    The non-monotonic trigger of Merity et al. 2017 (algorithm 1; salesforce/awd-lstm-lm main.py): the first
    evaluation i with i > after whose loss exceeds the least of evaluations 0 .. i - after - 1. Averaging
    begins with the step after it and never stops. A NaN counts as infinite.

    Args:
      history: validation losses, oldest first.
      after: n, the patience in evaluations; -1 averages at once and is answered by -1.

    Raises:
      UserError: `after` is less than -1.
    """
    if after < -1:
        raise UserError(f"optim.average_after is {after}: it must be -1 (average at once) or more")
    if after == -1:
        return -1
    losses = [math.inf if math.isnan(value) else value for value in history]
    for i in range(after + 1, len(losses)):
        if losses[i] > min(losses[: i - after]):
            return i
    return None


class Average(NamedTuple):
    """A running mean of the weights.

    Attributes:
      mean: the averaged parameters; meaningless while steps is 0.
      steps: int32 scalar, updates averaged so far.
    """

    mean: Params
    steps: Array


def start_average(params: Params) -> Average:
    """An average of nothing yet: a copy of `params`, which can so be donated apart from them."""
    return Average(jax.tree.map(jnp.copy, params), jnp.zeros((), jnp.int32))


def update_average(average: Average, params: Params, active: bool | Array = True) -> Average:
    """`average` after one more optimizer step, which led to `params`.

    mean += mu * (params - mean) with mu = 1 / max(1, steps before this one): torch.optim.ASGD with t0 = 0,
    lambd = 0 (Polyak & Juditsky 1992). Both the first and the second step set the mean to the weights, as
    torch does, so the mean after k steps is that of the weights after steps 2 .. k.

    Args:
      average: the average so far.
      params: the weights after the step.
      active: False leaves `average` as it is, at no cost in memory passes; may be traced, so that starting
        to average does not recompile.
    """

    def advance(average: Average) -> Average:
        first = average.steps <= 1
        mu = 1.0 / jnp.maximum(average.steps, 1).astype(jnp.float32)
        # Exactly the weights where mu is 1: mean + (p - mean) would round.
        mean = jax.tree.map(
            lambda m, p: jnp.where(first, p, m + mu.astype(m.dtype) * (p - m)), average.mean, params
        )
        return Average(mean, average.steps + 1)

    if isinstance(active, bool):
        return advance(average) if active else average
    return jax.lax.cond(active, advance, lambda average: average, average)


def averaged(average: Average, params: Params) -> Params:
    """The weights to evaluate with: the mean, or `params` while nothing has been averaged."""
    return jax.tree.map(lambda m, p: jnp.where(average.steps > 0, m, p), average.mean, params)
