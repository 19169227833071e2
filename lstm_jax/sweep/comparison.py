"""A sweep as it is compared: members, groups over seeds, what varies, and the numbers behind its figures."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lstm_jax.runs.directory import RunPaths
from lstm_jax.runs.metrics import read_metrics
from lstm_jax.sweep.baseline import find_baseline, varying
from lstm_jax.sweep.directory import SweepPaths
from lstm_jax.sweep.statistics import over_seeds
from lstm_jax.sweep.summary import counted, groups, rows
from lstm_jax.tasks.scores import best_high

__all__ = [
    "Comparison",
    "Margin",
    "curves",
    "curves_of_variants",
    "margins",
    "name_of",
    "read",
    "shown_variants",
    "variant_of",
]

FEW = 12
"""Values of a field that still get a mean each; of more, as in a random search, the dots alone are drawn."""

BASE = "base config"
"""What a variant is called that sets none of the fields that vary."""


class Comparison(NamedTuple):
    """What the table, the figures and the page are made of.

    Attributes:
      paths: of the sweep.
      record: what sweep.json holds.
      members: rows of `summary.rows`, in the sweep's order.
      groups: of `summary.groups`, over seeds.
      metric: what is compared; "" while nothing is finished.
      length: label of the axis of lengths; "" where there is none.
      length_label: what that axis is called.
      fields: labels that vary, without the length: they make the variant.
      baseline: labels that the others are compared with, see `find_baseline`.
      runs: a row an ended run for the figures: {"name", "variant", "length", "seed", "solved",
        "solved_step", "steps", "value", "chance"}; the value of a failed one is NaN.
      kind: what the variants are, in words; "" where their names say it.
    """

    paths: SweepPaths
    record: dict[str, Any]
    members: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    metric: str
    length: str
    length_label: str
    fields: list[str]
    baseline: dict[str, Any]
    runs: list[dict[str, Any]]
    kind: str

    @property
    def high(self) -> bool:
        """Whether the metric is best high."""
        return best_high(self.metric)

    @property
    def criterion(self) -> bool:
        """Whether the task has a criterion for solved."""
        return any(row.get("solved") is not None for row in self.members)

    @property
    def lengths(self) -> list[Any]:
        """The lengths of the runs, rising."""
        return sorted({run["length"] for run in self.runs if run["length"] is not None})

    def chance(self) -> dict[Any, float]:
        """Length (None where there is no axis of it) -> the metric's chance level.

        Only where it is known, and one for all runs of the length: another field may change the task.
        """
        found: dict[Any, set[float]] = {}
        for run in self.runs:
            if run["chance"] is not None:
                found.setdefault(run["length"], set()).add(run["chance"])
        return {length: levels.pop() for length, levels in found.items() if len(levels) == 1}

    @property
    def one_chance(self) -> float | None:
        """The metric's chance level, where it is known and one for all runs."""
        levels = {run["chance"] for run in self.runs} - {None}
        return levels.pop() if len(levels) == 1 else None


def variant_of(labels: Mapping[str, Any], names: Sequence[str]) -> str:
    """What a member is, beside its length and seed, in words: "1", or "cell=gru, hidden=64", or BASE."""
    known = {name: labels[name] for name in names if labels.get(name) is not None}
    if not known and names:
        return BASE
    if len(names) == 1:
        return str(known[names[0]])
    return ", ".join(
        str(value) if name == "variant" else f"{name_of(name)}={value}" for name, value in known.items()
    )


def name_of(label: str) -> str:
    """A label as a person reads it."""
    return label.replace("_", " ")


def read(directory: str | os.PathLike[str], metric: str = "", baseline: Any = None) -> Comparison:
    """The sweep in `directory`, finished or not.

    Args:
      directory: of the sweep.
      metric: compared; "" for the sweep's own, or else the default of `summary.metric_of`.
      baseline: the variant to compare with; nothing for the sweep's own, or else its first.

    Raises:
      UserError: there is no sweep, a result cannot be read, the metric or the baseline is unknown.
    """
    paths = SweepPaths(directory)
    record, members = paths.read(), rows(directory)
    length, wanted = record["length"], baseline or record.get("baseline")
    found = groups(members, metric or record["metric"], wanted, length)
    labels = [row["labels"] for row in members]
    names = [name for name in varying(labels) if name != length]
    chosen = find_baseline(labels, wanted, length)
    metric = found[0]["metric"] if found else metric
    runs = [_run(row, names, length, metric) for row in members if row["status"] in ("finished", "failed")]
    kind = name_of(names[0]) if len(names) == 1 and names[0] != "variant" else ""
    label = record["length_label"]
    return Comparison(paths, record, members, found, metric, length, label, names, chosen, runs, kind)


def _run(row: Mapping[str, Any], names: Sequence[str], length: str, metric: str) -> dict[str, Any]:
    done = row["status"] == "finished"
    return {
        "name": row["name"],
        "variant": variant_of(row["labels"], names),
        "length": row["labels"].get(length) if length else None,
        "labels": row["labels"],
        "seed": row["seed"],
        "solved": bool(done and row["solved"]),
        "solved_step": row["solved_step"] if done else None,
        "steps": row["steps"] if done else None,
        "value": counted(metric, row["figures"]["test"][metric]) if done else math.nan,
        "chance": row["chance"].get(metric) if done else None,
    }


def shown_variants(comparison: Comparison, most: int) -> list[str]:
    """The variants that a figure has room for, in the sweep's order: the best by mean, and the baseline."""
    by_variant: dict[str, list[float]] = {}
    for run in comparison.runs:
        by_variant.setdefault(run["variant"], []).append(run["value"])
    if len(by_variant) <= most:
        return list(by_variant)
    worst = -math.inf if comparison.high else math.inf

    def mean(name: str) -> float:
        finite = [value for value in by_variant[name] if math.isfinite(value)]
        return sum(finite) / len(finite) if finite else worst

    ranked = sorted(by_variant, key=mean, reverse=comparison.high)
    base = {
        variant_of(run["labels"], comparison.fields)
        for run in comparison.runs
        if all(run["labels"].get(name) == value for name, value in comparison.baseline.items())
    }
    first = [name for name in ranked if name in base][:1]
    kept = {*first, *[name for name in ranked if name not in first][: most - len(first)]}
    return [name for name in by_variant if name in kept]


def curves(comparison: Comparison, names: Sequence[str]) -> dict[str, tuple[list[float], list[float]]]:
    """Steps and values (see `summary.counted`) of the evaluations on valid of the members `names`."""
    found, metric = {}, comparison.metric
    for name in names:
        path = RunPaths(comparison.paths.member(name)).metrics
        evaluated = [row for row in (read_metrics(path) if path.exists() else []) if row["kind"] == "valid"]
        kept = [row for row in evaluated if metric in row]
        found[name] = [row["step"] for row in kept], [counted(metric, row[metric]) for row in kept]
    return found


def curves_of_variants(comparison: Comparison) -> dict[str, list[tuple[list[float], list[float]]]]:
    """Variant -> `curves` of its members that ended, in the sweep's order: what `learning_bands` draws."""
    found = curves(comparison, [run["name"] for run in comparison.runs])
    variants = dict.fromkeys(run["variant"] for run in comparison.runs)
    return {v: [found[run["name"]] for run in comparison.runs if run["variant"] == v] for v in variants}


class Margin(NamedTuple):
    """The metric against one field, the others pooled.

    Attributes:
      field: the label.
      values: of the field, one a run.
      runs: the runs, in the same order.
      means: field value -> (mean, low, high) of `statistics.over_seeds`; empty where the values are many.
      settings: of the other fields, that there are in the sweep.
      left_out: of these, how many are in no mean, see `margins`.
    """

    field: str
    values: list[Any]
    runs: list[dict[str, Any]]
    means: dict[Any, tuple[float, float, float]]
    settings: int
    left_out: int


def margins(comparison: Comparison) -> list[Margin]:
    """A margin for each field that varies, the length among them; runs without the field are left out.

    Means are over the settings of the other fields of which each run of the sweep ended with a finite value,
    so that the values of a field, and the seeds, are compared over the same settings. Values and seeds that
    have no such run at all are not compared.
    """
    found = []
    for field in [*comparison.fields, *([comparison.length] if comparison.length else [])]:
        runs = [run for run in comparison.runs if field in run["labels"]]
        values = [run["labels"][field] for run in runs]
        distinct = list(dict.fromkeys(values))
        if len(distinct) < 2:
            continue
        means: dict[Any, tuple[float, float, float]] = {}
        cells = _settings(comparison, field)
        kept = {name: mine for name, mine in cells.items() if all(map(math.isfinite, mine.values()))}
        if len(distinct) <= FEW or not all(isinstance(value, int | float) for value in distinct):
            for value in distinct:
                mine = {
                    name: {seed: one for (level, seed), one in runs_of.items() if level == value}
                    for name, runs_of in kept.items()
                }
                means[value] = over_seeds({name: runs_of for name, runs_of in mine.items() if runs_of})
        found.append(Margin(field, values, runs, means, len(cells), len(cells) - len(kept)))
    return found


def _settings(comparison: Comparison, field: str) -> dict[str, dict[tuple[Any, int], float]]:
    """Setting of all other fields -> (value of `field`, seed) -> the metric, NaN where there is none yet."""
    ended = {run["name"]: run["value"] for run in comparison.runs}
    rows = [row for row in comparison.members if field in row["labels"]]
    value = {row["name"]: ended.get(row["name"], math.nan) for row in rows}
    some = [row for row in rows if math.isfinite(value[row["name"]])]
    levels, seeds = {row["labels"][field] for row in some}, {row["seed"] for row in some}
    found: dict[str, dict[tuple[Any, int], float]] = {}
    for row in rows:
        level = row["labels"][field]
        if level in levels and row["seed"] in seeds:
            others = json.dumps({name: one for name, one in row["labels"].items() if name != field})
            found.setdefault(others, {})[level, row["seed"]] = value[row["name"]]
    return found
