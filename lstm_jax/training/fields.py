"""The range of every config field: one table, which checks configs before anything is loaded or compiled.

`configs/base.py` says what each field means; a test demands an entry here for each of its fields. Fields of a
task other than `language_model` are arguments of that task, which checks them itself.
"""

import itertools
import logging
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lstm_jax.runs.directory import flat_config
from lstm_jax.support.errors import UserError

__all__ = ["ADDED", "RANGES", "Range", "check_fields", "check_memory"]

_log = logging.getLogger(__name__)


class Range(NamedTuple):
    """What a field may be.

    Attributes:
      allowed: the range in words, for messages and for `lstm-jax list fields`.
      holds: (value) -> whether the value is in it.
    """

    allowed: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def whole(least: int, most: int) -> Range:
    """Returns the range of whole numbers from `least` to `most`, both included."""

    def holds(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return Range(f"a whole number from {least} to {most:,}", holds)


def real(least: float, most: float = math.inf, *, below: bool = False) -> Range:
    """Returns the range of finite numbers from `least` to `most`; `below` leaves `most` out."""

    def holds(value: Any) -> bool:
        return _is_number(value) and least <= value and (value < most if below else value <= most)

    end = "" if math.isinf(most) else f" and {'below' if below else 'at most'} {most:g}"
    return Range(f"a finite number of at least {least:g}{end}", holds)


def each(one: Range, *, empty: bool) -> Range:
    """Returns the range of sequences whose elements are in `one`."""

    def holds(value: Any) -> bool:
        return isinstance(value, tuple | list) and (empty or len(value) > 0) and all(map(one.holds, value))

    least = "none or more, each" if empty else "one or more, each"
    return Range(f"{least} {one.allowed}", holds)


def _compiles(value: Any) -> bool:
    try:
        re.compile(value)
    except (re.error, TypeError):
        return False
    return True


BOOL = Range("True or False", lambda value: isinstance(value, bool))
TEXT = Range("text", lambda value: isinstance(value, str))
PATTERNS = each(Range("a regular expression", _compiles), empty=False)
RATE = real(0, 1, below=True)
WIDTH = whole(1, 65_536)
STEPS = whole(0, 10**9)

RANGES: dict[str, Range] = {
    "seed": whole(0, 2**32 - 1),
    "task.name": TEXT,
    "task.corpus": TEXT,
    "task.data_dir": TEXT,
    "task.level": TEXT,
    "task.batch": whole(1, 10**6),
    "task.window": whole(1, 10**6),
    "task.window_jitter": real(0, 10**5),
    "task.window_half": real(0, 1),
    "task.eval_batch": whole(1, 10**6),
    "task.eval_window": whole(1, 10**6),
    "task.eval_warmup": whole(0, 10**6),
    "model.name": TEXT,
    "model.hidden": each(WIDTH, empty=False),
    "model.embedding": WIDTH,
    "model.tied": BOOL,
    "model.init": TEXT,
    "model.cell.name": TEXT,
    "model.cell.forget_bias": TEXT,
    "model.cell.forget_bias_trainable": BOOL,
    "model.cell.init": TEXT,
    "model.cell.options": TEXT,
    "model.dropout.embedding": RATE,
    "model.dropout.input": RATE,
    "model.dropout.between": RATE,
    "model.dropout.output": RATE,
    "model.dropout.locked": BOOL,
    "model.dropout.weight": RATE,
    "model.dropout.zoneout_cell": real(0, 1),
    "model.dropout.zoneout_hidden": real(0, 1),
    "model.dtype": TEXT,
    "model.backend": TEXT,
    "model.episodes": whole(1, 1000),
    "model.episode_gates": TEXT,
    "model.directions": whole(1, 2),
    "model.pooling": TEXT,
    "model.scan_unroll": whole(1, 10_000),
    "model.remat_chunk": whole(0, 10**6),
    "objective.over_time": TEXT,
    "objective.l1": real(0),
    "objective.l2": real(0),
    "objective.penalty": TEXT,
    "objective.penalty_mask": PATTERNS,
    "objective.ar": real(0),
    "objective.tar": real(0),
    "optim.name": TEXT,
    "optim.learning_rate": real(0),
    "optim.clip": real(0),
    "optim.momentum": RATE,
    "optim.beta1": RATE,
    "optim.beta2": RATE,
    "optim.eps": real(0),
    "optim.schedule": TEXT,
    "optim.decay_after": STEPS,
    "optim.decay_factor": Range("a finite number above 0", lambda value: _is_number(value) and value > 0),
    "optim.warmup": STEPS,
    "optim.average": BOOL,
    "optim.average_after": whole(-1, 10**9),
    "optim.scale_by_length": BOOL,
    "train.epochs": whole(1, 10**6),
    "train.init_from": TEXT,
    "train.patience": STEPS,
    "train.eval_every": STEPS,
    "train.save_every": STEPS,
    "train.steps_per_call": whole(1, 10**9),
    "train.stop_when_solved": BOOL,
    "train.axis": TEXT,
    "train.keep": whole(1, 10_000),
    "train.tensorboard": BOOL,
    "train.track": TEXT,
    "evaluate.dynamic": BOOL,
    "evaluate.dynamic_rate": real(0),
    "evaluate.dynamic_decay": real(0, 1),
    "evaluate.dynamic_eps": real(0),
    "evaluate.dynamic_window": whole(1, 10**6),
    "evaluate.cache": BOOL,
    "evaluate.cache_size": whole(1, 10**7),
    "evaluate.cache_theta": real(0),
    "evaluate.cache_lambda": real(0, 1),
    "evaluate.lengths": each(
        Range(
            'a length, or a range of lengths "41:500"',
            lambda value: isinstance(value, str) or whole(1, 10**9).holds(value),
        ),
        empty=True,
    ),
    "evaluate.sample": whole(0, 100_000),
    "evaluate.sample_prompt": TEXT,
}
"""dotted field -> what it may be."""

ADDED: dict[str, Any] = {"model.remat_chunk": 0, "train.track": ""}
"""Fields added since version 0.1.0 -> the value that does what was done before."""


def check_fields(config: Mapping[str, Any]) -> None:
    """Checks a config, as nested dicts, before anything is loaded or compiled.

    Raises:
      UserError: a field is outside its range; the message names it, the value and what is allowed.
    """
    for name, value in flat_config(config):
        if name.startswith("task.") and config["task"].get("name") != "language_model":
            continue
        found = RANGES.get(name)
        if found is not None and not found.holds(value):
            raise UserError(f"{name}={value!r}: allowed is {found.allowed}")
    rate = config["optim"]["learning_rate"]
    if rate == 0 or rate > 1000:
        meaning = "nothing will be learned" if rate == 0 else "the loss will hardly stay finite"
        _log.warning("optim.learning_rate=%g: %s", rate, meaning)
    check_memory(config["model"])


def check_memory(model: Mapping[str, Any]) -> None:
    """Refuses recurrent weights that this machine's memory cannot hold, with their gradients and moments.

    The count is that of an LSTM, 4 H (D + H) numbers a layer: a bound that catches a typing error, not
    an estimate.

    Raises:
      UserError: four times the float32 weights are more than the memory.
    """
    widths = [model["embedding"], *model["hidden"]]
    weights = sum(4 * out * (inner + out) for inner, out in itertools.pairwise(widths))
    needed, memory = 4 * 4 * weights, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory:
        raise UserError(
            f"model.hidden={tuple(model['hidden'])} needs about {needed / 2**30:,.0f} GiB for weights, "
            f"gradients and moments, and this machine has {memory / 2**30:,.0f} GiB: try smaller layers"
        )
