"""The summary of a sweep: rows of members, rows of groups over seeds with their spread; CSV, JSON."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lstm_jax.runs.directory import write_json
from lstm_jax.runs.metrics import read_result
from lstm_jax.support.csv_files import write_csv
from lstm_jax.support.registry import check_name
from lstm_jax.sweep.baseline import find_baseline, named, reference
from lstm_jax.sweep.directory import SweepPaths, read_failure, status
from lstm_jax.sweep.statistics import bootstrap, paired, wilson
from lstm_jax.tasks.scores import best_high

__all__ = [
    "better",
    "choose_metric",
    "counted",
    "figure_of",
    "groups",
    "median_step",
    "metric_of",
    "rows",
    "summarise",
]

DIVERGED = 1e9
"""Perplexity from which on a run counts as diverged: the mean of such values is meaningless."""


def choose_metric(names: Iterable[str], loss: str, wanted: str, kind: str) -> str:
    """`wanted`, or perplexity, accuracy, or the loss where nothing is wanted.

    Args:
      names: the figures there are.
      loss: the task's own.
      wanted: "" for the default.
      kind: what `wanted` is, for the message.

    Raises:
      UserError: there is no figure `wanted`.
    """
    names = list(names)
    if wanted:
        check_name(wanted, names, kind)
        return wanted
    return next((name for name in ("perplexity", "accuracy") if name in names), loss)


def metric_of(result: Mapping[str, Any], wanted: str = "") -> str:
    """The metric that a run is compared by: `wanted`, or perplexity, accuracy, or the task's first.

    Raises:
      UserError: the run has no figure `wanted`.
    """
    figures, loss = result["figures"]["static"]["test"], next(iter(result["chance"]))
    return choose_metric(figures, loss, wanted, "metric of the sweep's runs:")


def counted(metric: str, value: float) -> float:
    """The value as means and figures use it: NaN where the run diverged, see DIVERGED."""
    return math.nan if (metric == "perplexity" and value >= DIVERGED) or not math.isfinite(value) else value


def figure_of(result: Mapping[str, Any], metric: str, split: str = "test") -> float:
    """The run's figure on a split, by its best checkpoint on valid."""
    return float(result["figures"]["static"][split][metric])


def better(metric: str, one: float, other: float) -> bool:
    """Whether `one` is the better value, by `tasks.scores.best_high`."""
    return one > other if best_high(metric) else one < other


def median_step(steps: Sequence[int | None]) -> float:
    """The median of steps to solve, where None counts as never; inf where the median is never."""
    if not steps:
        return math.nan
    counted = sorted(math.inf if step is None else float(step) for step in steps)
    middle = len(counted) // 2
    return counted[middle] if len(counted) % 2 else (counted[middle - 1] + counted[middle]) / 2


def rows(directory: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """One row a member, in the sweep's order.

    Returns:
      {"name", "status" (finished, failed, unfinished, new), "seed", "labels" {short field: value}}; of a
      finished one also "solved", "solved_step" (None where the task has no criterion, or was not solved),
      "steps", "seconds", "parameters", "best_step", "figures" {split: {metric: value}}, "chance", and what
      it ran on: "commit", "dirty", "hardware", "date"; of a failed one "error".

    Raises:
      UserError: there is no sweep, or a result cannot be read.
    """
    paths = SweepPaths(directory)
    found = []
    for member in paths.read()["members"]:
        where = paths.member(member["name"])
        state = status(where)
        row = {"name": member["name"], "status": state, "seed": member["seed"], "labels": member["labels"]}
        if state == "finished":
            result = read_result(where)
            row |= {name: result.get(name) for name in ("solved", "solved_step", "steps", "seconds")}
            row |= {name: result[name] for name in ("parameters", "best_step", "chance")}
            row |= {name: result.get(name) for name in ("commit", "dirty", "hardware", "date")}
            row["figures"] = result["figures"]["static"]
        elif state == "failed":
            row["error"] = (read_failure(where) or {}).get("error", "unknown")
        found.append(row)
    return found


def _metric(members: Sequence[Mapping[str, Any]], wanted: str) -> str:
    for row in members:
        if row["status"] == "finished":
            return metric_of({"figures": {"static": row["figures"]}, "chance": row["chance"]}, wanted)
    return wanted


def _values(group: Sequence[Mapping[str, Any]], metric: str) -> dict[int, float]:
    """Seed -> the metric on test, of the finished ones that did not diverge."""
    done = {
        row["seed"]: counted(metric, row["figures"]["test"][metric])
        for row in group
        if row["status"] == "finished"
    }
    return {seed: value for seed, value in done.items() if math.isfinite(value)}


def groups(
    members: Sequence[Mapping[str, Any]], metric: str = "", baseline: Any = None, length: str = ""
) -> list[dict[str, Any]]:
    """The members that differ in their seed alone, together.

    Args:
      members: rows as `rows` gives them.
      metric: compared; "" for the default, see `metric_of`.
      baseline: the variant that the others are compared with, see `baseline.find_baseline`. Where none is
        given and no variant has two seeds, as in a search, nothing is compared: one run is no baseline.
      length: the label that is an axis, and no part of a variant.

    Returns:
      In the order of the members: {"labels", "metric", "members" (all), "finished", "failed", "counted" (the
      finished ones that did not diverge: what the mean is over), "solved" (of the finished and the failed,
      which count as not solved; None where the task has no criterion), "solved_low", "solved_high" (Wilson's
      95 % interval of the share), "median_step" (None: never), "mean", "low", "high" (of the metric on test;
      95 % bootstrap interval, see statistics.py), "median", "best", "compared_with" (labels; None where there
      is nothing to compare with, or it is the baseline itself), "difference", "difference_low",
      "difference_high", "pairs" (of the metric, minus the baseline's over the seeds of both), "parameters",
      "seconds" (mean of a run)}. What is not known is None.

    Raises:
      UserError: no variant is the baseline, or no run has the metric.
    """
    metric = _metric(members, metric)
    together: dict[str, list[Mapping[str, Any]]] = {}
    for row in members:
        together.setdefault(json.dumps(row["labels"]), []).append(row)
    criterion = any(row.get("solved") is not None for row in members)
    labels = [group[0]["labels"] for group in together.values()]
    chosen = find_baseline(labels, baseline, length)
    values = [_values(group, metric) for group in together.values()]
    compared = bool(baseline) or max(map(len, together.values()), default=0) > 1
    found = []
    for index, group in enumerate(together.values()):
        other = reference(labels, labels[index], chosen, length) if compared else None
        other = None if other == index else other
        against = None if other is None else paired(values[index], values[other])
        found.append(
            {"labels": labels[index], "metric": metric}
            | _counts(group, criterion)
            | {"counted": len(values[index])}
            | _spread(values[index], metric)
            | {
                "compared_with": None if other is None else labels[other],
                "difference": None if against is None else _known(against.mean),
                "difference_low": None if against is None else _known(against.low),
                "difference_high": None if against is None else _known(against.high),
                "pairs": None if against is None else against.pairs,
            }
            | _costs(group)
        )
    return found


def _counts(group: Sequence[Mapping[str, Any]], criterion: bool) -> dict[str, Any]:
    """Returns how many runs of a group ended, and how many and how soon they solved the task."""
    done = [row for row in group if row["status"] == "finished"]
    failed = [row for row in group if row["status"] == "failed"]
    steps = [row["solved_step"] if row["solved"] else None for row in done] + [None] * len(failed)
    solved = sum(bool(row["solved"]) for row in done)
    low, high = wilson(solved, len(done) + len(failed))
    return {
        "members": len(group),
        "finished": len(done),
        "failed": len(failed),
        "solved": solved if criterion else None,
        "solved_low": _known(low) if criterion else None,
        "solved_high": _known(high) if criterion else None,
        "median_step": _known(median_step(steps)) if criterion else None,
    }


def _spread(values: Mapping[int, float], metric: str) -> dict[str, Any]:
    """Returns mean, interval, median and best of a metric over seeds."""
    mean, low, high = bootstrap(values.values())
    pick = max if best_high(metric) else min
    return {
        "mean": _known(mean),
        "low": _known(low),
        "high": _known(high),
        "median": float(np.median([*values.values()])) if values else None,
        "best": pick(values.values()) if values else None,
    }


def _costs(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns parameters and mean seconds of the finished runs of a group."""
    done = [row for row in group if row["status"] == "finished"]
    return {
        "parameters": done[0]["parameters"] if done else None,
        "seconds": float(np.mean([row["seconds"] for row in done])) if done else None,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of one level, for a CSV file."""
    flat = {name: row[name] for name in ("name", "status") if name in row}
    flat |= {**row["labels"]}
    if row.get("compared_with") is not None:
        row = {**row, "compared_with": named(row["compared_with"])}
    for name, value in row.items():
        if name == "figures":
            flat |= {f"{split}_{m}": v for split, figures in value.items() for m, v in figures.items()}
        elif name not in ("labels", "chance"):
            flat[name] = value
    return flat


def summarise(
    directory: str | os.PathLike[str], metric: str = "", baseline: Any = None
) -> list[dict[str, Any]]:
    """Groups the members, and writes summary.json, summary.csv (groups) and members.csv beside them.

    Args:
      directory: of the sweep, finished or not.
      metric: compared; "" for the sweep's own.
      baseline: the variant to compare with; nothing for the sweep's own, or else its first.

    Returns:
      The groups.

    Raises:
      UserError: there is no sweep, the metric or the baseline is unknown, or a file cannot be written.
    """
    paths = SweepPaths(directory)
    members, record = rows(directory), paths.read()
    found = groups(members, metric or record["metric"], baseline or record.get("baseline"), record["length"])
    write_json(paths.summary, {"groups": found, "members": members})
    write_csv(paths.root / "summary.csv", [_flat(group) for group in found])
    write_csv(paths.root / "members.csv", [_flat(row) for row in members])
    return found
