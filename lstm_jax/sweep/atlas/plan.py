"""The members of an atlas: cells x tasks x trials x seeds, from the plain data of configs/atlas.py."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from lstm_jax import cells
from lstm_jax.support import pytrees
from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import check_name, lookup
from lstm_jax.tasks import make_task
from lstm_jax.tasks.base import Task
from lstm_jax.tasks.generated import at_length, draws_lengths

__all__ = ["Column", "Member", "Plan", "Row", "Trial", "make_plan", "units_of"]


SPARE = 16
"""Slots of a stack or tape beyond the most symbols of a sequence."""


class Trial(NamedTuple):
    """A setting of the optimizer that each cell is tried with.

    Attributes:
      rate: learning rate of Adam.
      bias: forget bias; None for a cell without one.
    """

    rate: float
    bias: float | None


class Row(NamedTuple):
    """A cell of the atlas.

    Attributes:
      label: its name in the map.
      name: of CELLS.
      options: as text, see `cells.make_cell`.
      longer_options: the same where sequences longer than in training are tested.
      trials: settings, as many as those of any other cell.
    """

    label: str
    name: str
    options: str
    longer_options: str
    trials: tuple[Trial, ...]


class Column(NamedTuple):
    """A task of the atlas.

    Attributes:
      label: its name in the map.
      group: what it asks for.
      name: of TASKS.
      length: its `length` in training.
      options: its other options.
      multiple: of which its lengths are multiples.
    """

    label: str
    group: str
    name: str
    length: int
    options: Mapping[str, Any]
    multiple: int = 1

    def task(self, scale: Mapping[str, Any], length: int = 0) -> Task:
        """The task at this length, or at that of training; its data are those of seed 0."""
        sizes = dict(batch=scale["batch"], eval_batch=scale["eval_batch"], eval_steps=1)
        return make_task(self.name, **self.options, **sizes, length=length or self.length, epochs=1, seed=0)

    def longer(self, scale: Mapping[str, Any]) -> list[tuple[int, Task]]:
        """(length, the task there) for the longer lengths of the scale.

        Of a task whose lengths are data they are all of one program; of another the first and the last.
        """
        share = self.length / scale["length"]
        wanted = [max(self.length + 1, round(share * n)) for n in scale["longer"]]
        lengths = sorted({-(-n // self.multiple) * self.multiple for n in wanted})
        longest = self.task(scale, lengths[-1])
        if draws_lengths(longest):
            return [(n, at_length(longest, n)) for n in lengths]
        return [(n, self.task(scale, n)) for n in (lengths[0], lengths[-1])]


class Member(NamedTuple):
    """One run: a cell on a task with a trial and a seed."""

    row: Row
    column: Column
    trial: Trial
    seed: int

    def key(self) -> tuple:
        """What tells it apart from the others of its scale."""
        return self.row.label, self.column.label, self.trial.rate, self.trial.bias, self.seed


class Plan(NamedTuple):
    """An atlas at one scale.

    Attributes:
      name: of the scale.
      scale: its sizes, see configs/atlas.py.
      rows, columns: the cells and tasks, in the map's order.
    """

    name: str
    scale: Mapping[str, Any]
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]

    def members(self, row: Row, column: Column) -> list[Member]:
        """Those of one square of the map, the seed varying fastest."""
        seeds = range(1, self.scale["seeds"] + 1)
        return [Member(row, column, *pair) for pair in itertools.product(row.trials, seeds)]

    def groups(self, done: Iterable[tuple], apart: bool) -> Iterator[tuple[Row, list[Column]]]:
        """(cell, tasks) that are to be trained by one program each, without what is done.

        Args:
          done: keys of finished members; a square of which one is missing is trained again.
          apart: each task by itself; otherwise those of a cell whose sequences are about as long together.
        """
        finished = set(done)
        for row in self.rows:
            left = [
                column
                for column in self.columns
                if not finished.issuperset(member.key() for member in self.members(row, column))
            ]
            if apart:
                yield from ((row, [column]) for column in left)
                continue
            short = [c for c in left if c.task(self.scale).buckets["train"][0] <= self.scale["length"] + 1]
            yield from ((row, some) for some in (short, [c for c in left if c not in short]) if some)


def make_plan(definition: Any, scale: str, cells_: Sequence[str] = (), tasks: Sequence[str] = ()) -> Plan:
    """The atlas that a module such as configs/atlas.py defines.

    Args:
      definition: with SCALES, RATES, BIASES, OTHER_RATES, CELLS and TASKS.
      scale: a name of SCALES.
      cells_: labels of the cells to take, in this order; empty: all.
      tasks: labels of the tasks to take.

    Raises:
      UserError: an unknown name, or cells that would have different numbers of trials.
    """
    sizes = lookup(definition.SCALES, scale, "scale of the atlas")
    for label in cells_:
        check_name(label, definition.CELLS, "cell of the atlas")
    for label in tasks:
        check_name(label, definition.TASKS, "task of the atlas")
    if len(definition.OTHER_RATES) != len(definition.RATES) * len(definition.BIASES):
        raise UserError("OTHER_RATES must be as many as RATES times BIASES: every cell has as many trials")
    slots = max(sizes["longer"]) + SPARE
    rows = [_row(label, definition.CELLS[label], definition, slots) for label in cells_ or definition.CELLS]
    columns = [
        Column(
            label,
            entry["group"],
            entry.get("name", label),
            round(entry.get("share", 1) * sizes["length"]),
            entry.get("options", {}),
            entry.get("multiple", 1),
        )
        for label, entry in definition.TASKS.items()
    ]
    return Plan(
        scale,
        sizes,
        tuple(rows),
        tuple(column for column in columns if not tasks or column.label in tasks),
    )


def _row(label: str, entry: Mapping[str, Any], definition: Any, slots: int) -> Row:
    name = entry.get("name", label)
    check_name(name, cells.CELLS, "cell")
    if name in cells.NO_FORGET_BIAS:
        trials = tuple(Trial(rate, None) for rate in definition.OTHER_RATES)
    else:
        pairs = itertools.product(definition.RATES, definition.BIASES)
        trials = tuple(Trial(rate, bias) for rate, bias in pairs)
    options = entry.get("options", "")
    longer = entry.get("longer_options", options).replace("{slots}", str(slots))
    return Row(label, name, options, longer, trials)


def units_of(row: Row, scale: Mapping[str, Any]) -> tuple[int, int]:
    """(units, parameters of the layer) at which the cell's layer comes nearest to the LSTM's parameters.

    The layer reads the embedding; embedding and head are no part of the count, for they differ by task. The
    width grows by eights from 8 on, for the cells whose units come in blocks and for the hardware.
    """

    def parameters(name: str, width: int, options: str) -> int:
        cell = cells.make_cell(name, width, options=options)
        params = jax.eval_shape(lambda key: cell.init(key, scale["embedding"]), jax.random.key(0))
        return pytrees.count(params)

    wanted = parameters("lstm", scale["hidden"], "")
    widths = range(8, 8 * scale["hidden"] + 1, 8)
    sized = []
    for width in widths:
        sized.append((width, parameters(row.name, width, row.options)))
        if sized[-1][1] > wanted:
            break
    return min(sized, key=lambda pair: abs(pair[1] - wanted))
