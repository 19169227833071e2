"""The other lengths at which a run's task is tested: single ones, and ranges with the mean over them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm_jax.support.errors import UserError
from lstm_jax.tasks import make_task
from lstm_jax.tasks.base import Task
from lstm_jax.tasks.generated import at_length, draws_lengths

__all__ = ["mean_over", "other_lengths", "ranged"]

_RANGE = re.compile(r"(\d+):(\d+)(?::(\d+))?")


def ranged(lengths: Sequence[int | str]) -> list[int]:
    """The lengths that the ranges among `lengths` stand for: "41:500" all of them, "41:160:8" each 8th.

    Args:
      lengths: the config's `evaluate.lengths`: whole numbers, and ranges as text, both ends included.

    Raises:
      UserError: a text of another form.
    """
    found: set[int] = set()
    for asked in lengths:
        if not isinstance(asked, str):
            continue  # the task checks it
        matched = _RANGE.fullmatch(asked)
        first, last, step = (int(part or 1) for part in matched.groups()) if matched else (0, 0, 1)
        if not 1 <= first <= last or step < 1:
            raise UserError(
                f"evaluate.lengths: {asked!r} is no length: write a number, or FIRST:LAST or "
                "FIRST:LAST:STEP as text, e.g. (100, '41:160:8')"
            )
        found |= set(range(first, last + 1, step))
    return sorted(found)


def other_lengths(task: Task, sections: Mapping[str, Any]) -> dict[int, Task]:
    """The run's task at each length of `evaluate.lengths`, to see how far what was learned carries.

    Of a task that draws the length of each sequence a range is one task, made at its longest, in which every
    sequence has exactly that length: one compiled program for all of them. A single length is the task made
    with it, as in training.

    Raises:
      UserError: no such length; the task has no `length`, or cannot have that one, or has other symbols
        there.
    """
    lengths, section = sections["evaluate"]["lengths"], sections["task"]
    if lengths and "length" not in section:
        raise UserError(
            f"evaluate.lengths={tuple(lengths)}: the task {section['name']!r} has no length; leave it empty"
        )
    run = dict(epochs=sections["train"]["epochs"], seed=sections["seed"])
    several, single = ranged(lengths), [length for length in lengths if not isinstance(length, str)]
    if several and draws_lengths(task):
        longest = make_task(**{**section, "length": several[-1]}, **run)
        others = {length: at_length(longest, length) for length in several}
    else:
        others = {length: make_task(**{**section, "length": length}, **run) for length in several}
    others |= {length: make_task(**{**section, "length": length}, **run) for length in single}
    for length, other in others.items():
        if (other.vocab, other.input_dim, other.outputs) != (task.vocab, task.input_dim, task.outputs):
            raise UserError(
                f"evaluate.lengths: {length} cannot be had, for the task {section['name']!r} has other "
                f"symbols there than at the trained length {section['length']}; leave it empty"
            )
    return others


def mean_over(lengths: Sequence[int | str], figures: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Each figure's mean over the lengths of the ranges, each length weighing the same; {} without ranges."""
    several = ranged(lengths)
    if not several:
        return {}
    return {name: float(np.mean([figures[n][name] for n in several])) for name in figures[several[0]]}
