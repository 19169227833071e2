"""The learning rate of an epoch: a pure function of the epoch and of the validation losses so far.

Pure, so that a resumed run need not save a schedule's state: it replays the history.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import check_name, lookup

__all__ = ["SCHEDULES", "learning_rate"]


class _At(NamedTuple):
    """What a schedule may depend on: the arguments of `learning_rate`."""

    epoch: float
    history: Sequence[float]
    epochs: float
    after: int
    factor: float
    warmup: float


def _constant(at: _At) -> float:
    return 1.0


def _decay(at: _At) -> float:
    return at.factor ** -max(at.epoch + 1 - at.after, 0)


def _plateau(at: _At) -> float:
    best, worse = math.inf, 0
    for value in at.history:
        if value < best:  # False for a NaN, which so counts as worse
            best = value
        else:
            worse += 1
    return at.factor**-worse


def _cosine(at: _At) -> float:
    if at.epoch < at.warmup:
        return (at.epoch + 1) / (at.warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * min((at.epoch - at.warmup) / (at.epochs - at.warmup), 1.0)))


SCHEDULES = {"constant": _constant, "decay": _decay, "plateau": _plateau, "cosine": _cosine}
"""optim.schedule -> the epoch's multiplier of optim.learning_rate."""

_RULE = ("name", "clip", "momentum", "beta1", "beta2", "eps")
_AVERAGING = ("average", "average_after", "scale_by_length")
"""Fields of `optim` that are read elsewhere."""


def learning_rate(
    epoch: float,
    history: Sequence[float],
    epochs: float,
    *,
    learning_rate: float,
    schedule: str = "constant",
    decay_after: int = 0,
    decay_factor: float = 1.0,
    warmup: float = 0,
    **elsewhere: Any,
) -> float:
    """The learning rate of an epoch, from the config section `optim`.

    constant: learning_rate.
    decay: learning_rate / decay_factor^max(epoch + 1 - decay_after, 0): `decay_after` epochs at the full
      rate (Zaremba et al. 2014; TensorFlow's PTB tutorial).
    plateau: divided by decay_factor at every evaluation that is not a new best (pytorch/examples word
      language model). A NaN is not a new best.
    cosine: learning_rate * (epoch + 1) / (warmup + 1) for `warmup` epochs, then half a cosine from the full
      rate towards 0, which it would reach at `epochs` (Loshchilov & Hutter 2017, without restarts).

    Args:
      epoch: index of the epoch, from 0; may be fractional.
      history: validation losses of the evaluations so far, oldest first.
      epochs: epochs of the whole run.
      learning_rate: the full rate.
      schedule: one of SCHEDULES.
      decay_after: decay: epochs at the full rate.
      decay_factor: decay, plateau: divisor, more than 1.
      warmup: cosine: epochs of linear warm-up, less than `epochs`.
      **elsewhere: the fields of `optim` that are read elsewhere, so that the section can be passed whole.

    Raises:
      UserError: unknown schedule or field; a decay_factor or warmup with which the schedule does nothing.
    """
    for field in elsewhere:
        check_name(field, _RULE + _AVERAGING, "optim field")
    multiplier = lookup(SCHEDULES, schedule, "optim.schedule")
    if schedule in ("decay", "plateau") and not decay_factor > 1:
        raise UserError(
            f"optim.decay_factor is {decay_factor}: schedule {schedule!r} divides the rate by it, so it must "
            "be more than 1 (Zaremba small: 2, pytorch/examples: 4); for no decay set optim.schedule=constant"
        )
    if schedule == "cosine" and not 0 <= warmup < epochs:
        raise UserError(
            f"optim.warmup is {warmup} epochs: it must be 0 or more and less than the run's {epochs}"
        )
    at = _At(epoch, history, epochs, decay_after, decay_factor, warmup)
    return float(learning_rate * multiplier(at))
