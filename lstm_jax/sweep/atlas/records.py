"""Finished members of an atlas as lines of JSON, and what they come to: one square of the map for each pair.

The trial of a square is chosen without a look at what is reported: for each seed the trial with the least
mean loss on valid over the OTHER seeds (with one seed, over itself), diverged runs counting as infinite. What
is reported is that trial's run with that seed, on test. So a lucky seed does not choose its own trial, and
all cells choose among as many.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstm_jax.support.errors import UserError
from lstm_jax.sweep.atlas.plan import Column, Plan, Row
from lstm_jax.sweep.statistics import wilson
from lstm_jax.sweep.summary import median_step

__all__ = ["ByBias", "Square", "append", "by_bias", "chosen", "keys", "read", "squares"]


class Square(NamedTuple):
    """What the runs of a cell on a task come to.

    Attributes:
      cell, task, group: labels.
      runs: seeds reported; 0: not run.
      solved: how many of them met the task's criteria on test, at the trained lengths.
      low, high: Wilson's interval of that share.
      median_step: the median first step that met them on valid; inf: never.
      metric: the name of the criterion's figure.
      test: its mean over the runs at the trained lengths.
      longer: its mean over the longer lengths and the runs.
      best_longer: the same of the best of all runs by it, of any trial and seed (how the paper reports).
      by_length: longer length -> the mean over the runs.
      rate, bias: of the trial that is best over all seeds.
      seconds: of a run, its share of the program's.
      units: of the layer.
    """

    cell: str
    task: str
    group: str
    runs: int = 0
    solved: int = 0
    low: float = math.nan
    high: float = math.nan
    median_step: float = math.nan
    metric: str = ""
    test: float = math.nan
    longer: float = math.nan
    best_longer: float = math.nan
    by_length: Mapping[int, float] = {}
    rate: float = math.nan
    bias: float | None = None
    seconds: float = math.nan
    units: int = 0


class ByBias(NamedTuple):
    """The runs of a cell on a task with one forget bias, of all rates and seeds.

    Attributes:
      cell, task: labels.
      bias: the forget bias at the start.
      runs: how many.
      solved: of them, at the trained lengths on test.
      low, high: Wilson's interval of that share; it takes the rates for a sample, which they are not.
      median_step: the median first step that met the criteria on valid; inf: never.
      test: mean of the criterion's figure at the trained lengths.
      longer: the same at the longer lengths.
    """

    cell: str
    task: str
    bias: float
    runs: int
    solved: int
    low: float
    high: float
    median_step: float
    test: float
    longer: float


def read(directory: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The records of all files in `directory`; of a member that is there twice the last.

    A last line that was cut off, as by a kill, is left out.

    Raises:
      UserError: a line before the last is no record.
    """
    found: dict[tuple, dict[str, Any]] = {}
    for file in sorted(Path(directory).glob("*.jsonl")):
        lines = file.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
            except ValueError as error:
                if number == len(lines):
                    continue
                raise UserError(
                    f"{file}:{number} is no record of the atlas: {error}; take the line out"
                ) from error
            found[_key(record)] = record
    return list(found.values())


def append(directory: str | os.PathLike[str], records: Sequence[Mapping[str, Any]]) -> None:
    """Writes finished members, to one file a cell, and onto the disk before it returns."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    for cell in dict.fromkeys(record["cell"] for record in records):
        path = Path(directory) / f"{cell}.jsonl"
        whole = path.read_bytes() if path.exists() else b""
        with path.open("ab") as file:
            if whole and not whole.endswith(b"\n"):
                file.truncate(whole.rfind(b"\n") + 1)  # of a kill
            lines = [json.dumps(record) + "\n" for record in records if record["cell"] == cell]
            file.write("".join(lines).encode())
            file.flush()
            os.fsync(file.fileno())


def _key(record: Mapping[str, Any]) -> tuple:
    return tuple(record[name] for name in ("cell", "task", "rate", "forget_bias", "seed"))


def keys(records: Iterable[Mapping[str, Any]], plan: Plan) -> set[tuple]:
    """The members that need no training: those with a record of as many steps as the plan has now."""
    return {_key(record) for record in records if record["steps"] == plan.scale["steps"]}


def _loss(record: Mapping[str, Any]) -> float:
    value = record["valid_loss"]
    return math.inf if value is None else value


def chosen(records: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of the records of one square the reported one of each seed, by the rule of the module."""
    by_trial: dict[tuple, dict[int, Mapping[str, Any]]] = {}
    for record in records:
        trial = record["rate"], record["forget_bias"]
        by_trial.setdefault(trial, {})[record["seed"]] = record
    seeds = sorted({record["seed"] for record in records})
    found = []
    for seed in seeds:
        others = [other for other in seeds if other != seed] or [seed]
        able = [runs for runs in by_trial.values() if seed in runs]

        def mean(runs: Mapping[int, Mapping[str, Any]], others: list[int] = others) -> float:
            return float(np.mean([_loss(runs[other]) if other in runs else math.inf for other in others]))

        found.append(min(able, key=mean)[seed])
    return found


def squares(records: Iterable[Mapping[str, Any]], plan: Plan) -> list[list[Square]]:
    """A row of squares for each cell of the plan, one a task; without runs where there are none."""
    of: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in records:
        of.setdefault((record["cell"], record["task"]), []).append(record)
    metrics = {column.label: column.task(plan.scale).solved[0].metric for column in plan.columns}
    return [
        [
            _square(row, column, of.get((row.label, column.label), []), metrics[column.label])
            for column in plan.columns
        ]
        for row in plan.rows
    ]


def _square(row: Row, column: Column, records: list[Mapping[str, Any]], metric: str) -> Square:
    if not records:
        return Square(row.label, column.label, column.group, metric=metric)
    runs = chosen(records)
    solved = sum(run["solved"] for run in runs)
    low, high = wilson(solved, len(runs))

    lengths = sorted({int(length) for run in runs for length in run["longer"]})
    best = min(records, key=_loss)
    return Square(
        row.label,
        column.label,
        column.group,
        len(runs),
        solved,
        low,
        high,
        median_step([run["solved_step"] for run in runs]),
        metric,
        float(np.mean([_value(run["test"], metric) for run in runs])),
        float(np.mean([_beyond(run, metric) for run in runs])),
        float(np.nanmax([_beyond(run, metric) for run in records])),
        {
            length: float(np.mean([_value(run["longer"][str(length)], metric) for run in runs]))
            for length in lengths
        },
        best["rate"],
        best["forget_bias"],
        float(np.mean([run["seconds"] for run in runs])),
        best["units"],
    )


def _value(figures: Mapping[str, Any], metric: str) -> float:
    return math.nan if figures[metric] is None else figures[metric]


def _beyond(run: Mapping[str, Any], metric: str) -> float:
    """The mean over the longer lengths."""
    return float(np.mean([_value(figures, metric) for figures in run["longer"].values()]))


def by_bias(records: Iterable[Mapping[str, Any]], plan: Plan) -> list[ByBias]:
    """What the forget bias does, by cell, task and bias, in the plan's order, of the cells that have one."""
    of: dict[tuple, list[Mapping[str, Any]]] = {}
    for record in records:
        of.setdefault((record["cell"], record["task"], record["forget_bias"]), []).append(record)
    found = []
    for row in plan.rows:
        biases = sorted({trial.bias for trial in row.trials if trial.bias is not None})
        for column in plan.columns:
            for bias in biases:
                runs = of.get((row.label, column.label, bias), [])
                if not runs:
                    continue
                metric = column.task(plan.scale).solved[0].metric
                solved = sum(run["solved"] for run in runs)
                found.append(
                    ByBias(
                        row.label,
                        column.label,
                        bias,
                        len(runs),
                        solved,
                        *wilson(solved, len(runs)),
                        median_step([run["solved_step"] for run in runs]),
                        float(np.mean([_value(run["test"], metric) for run in runs])),
                        float(np.mean([_beyond(run, metric) for run in runs])),
                    )
                )
    return found
