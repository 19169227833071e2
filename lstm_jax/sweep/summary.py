"""What came of a sweep: rows of members, rows of groups over seeds with their spread; table, CSV, JSON."""

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lstm_jax.errors import UserError
from lstm_jax.metrics import read_result
from lstm_jax.registry import check_name
from lstm_jax.run_directory import write_json
from lstm_jax.sweep.directory import SweepPaths, read_failure, status

__all__ = [
    "better",
    "bootstrap",
    "figure_of",
    "groups",
    "median_step",
    "metric_of",
    "rows",
    "summarise",
    "table",
    "varying",
]

RESAMPLES = 10_000
BEST_HIGH = ("accuracy", "recall", "correct", "legal", "strings")
"""The metrics that are best high: shares of what is right. Everything else is best low."""


def metric_of(result: Mapping[str, Any], wanted: str = "") -> str:
    """The metric that a run is compared by: `wanted`, or perplexity, accuracy, or the task's first.

    Raises:
      UserError: the run has no figure `wanted`.
    """
    figures = result["figures"]["static"]["test"]
    if wanted:
        check_name(wanted, figures, "metric of the sweep's runs:")
        return wanted
    for name in ("perplexity", "accuracy"):
        if name in figures:
            return name
    return next(iter(result["chance"]))


def figure_of(result: Mapping[str, Any], metric: str, split: str = "test") -> float:
    """The run's figure on a split, by its best checkpoint on valid."""
    return float(result["figures"]["static"][split][metric])


def better(metric: str, one: float, other: float) -> bool:
    """Whether `one` is the better value, by BEST_HIGH."""
    return one > other if metric in BEST_HIGH else one < other


def bootstrap(values: Sequence[float], *, seed: int = 0, share: float = 0.95) -> tuple[float, float, float]:
    """(mean, low, high): the mean with its bootstrap percentile interval over seeds.

    Args:
      values: one a seed; what is not finite is left out.
      seed: of the resampling.
      share: of the interval, e.g. 0.95.

    Returns:
      NaN for the bounds of fewer than two values, and for the mean of none.
    """
    kept = np.asarray([value for value in values if math.isfinite(value)], np.float64)
    if len(kept) == 0:
        return math.nan, math.nan, math.nan
    if len(kept) == 1:
        return float(kept[0]), math.nan, math.nan
    drawn = np.random.default_rng(seed).integers(0, len(kept), (RESAMPLES, len(kept)))
    means = kept[drawn].mean(axis=1)
    low, high = np.quantile(means, [(1 - share) / 2, (1 + share) / 2])
    return float(kept.mean()), float(low), float(high)


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
      "steps", "seconds", "parameters", "best_step", "figures" {split: {metric: value}}, "chance"; of a failed
      one "error".

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
            row["figures"] = result["figures"]["static"]
        elif state == "failed":
            row["error"] = (read_failure(where) or {}).get("error", "unknown")
        found.append(row)
    return found


def varying(members: Sequence[Mapping[str, Any]]) -> list[str]:
    """The labels that are not the same in all members, in their order."""
    names = list(dict.fromkeys(name for row in members for name in row["labels"]))
    return [name for name in names if len({json.dumps(row["labels"].get(name)) for row in members}) > 1]


def _metric(members: Sequence[Mapping[str, Any]], wanted: str) -> str:
    for row in members:
        if row["status"] == "finished":
            return metric_of({"figures": {"static": row["figures"]}, "chance": row["chance"]}, wanted)
    return wanted


def groups(members: Sequence[Mapping[str, Any]], metric: str = "") -> list[dict[str, Any]]:
    """The members that differ in their seed alone, together.

    Args:
      members: rows as `rows` gives them.
      metric: compared; "" for the default, see `metric_of`.

    Returns:
      In the order of the members: {"labels", "metric", "members" (all), "finished", "failed", "solved" (of
      the finished and the failed, which count as not solved; None where the task has no criterion),
      "median_step" (None: never), "mean", "low", "high" (of the metric on test, over the finished; bounds
      of the 95 % bootstrap interval), "parameters", "seconds" (mean of a run)}. What is not known is None.
    """
    metric = _metric(members, metric)
    together: dict[str, list[Mapping[str, Any]]] = {}
    for row in members:
        together.setdefault(json.dumps(row["labels"]), []).append(row)
    criterion = any(row.get("solved") is not None for row in members)
    found = []
    for group in together.values():
        done = [row for row in group if row["status"] == "finished"]
        failed = [row for row in group if row["status"] == "failed"]
        mean, low, high = bootstrap([row["figures"]["test"][metric] for row in done])
        steps = [row["solved_step"] if row["solved"] else None for row in done] + [None] * len(failed)
        median = median_step(steps) if criterion else math.nan
        found.append(
            {
                "labels": group[0]["labels"],
                "metric": metric,
                "members": len(group),
                "finished": len(done),
                "failed": len(failed),
                "solved": sum(bool(row["solved"]) for row in done) if criterion else None,
                "median_step": _known(median),
                "mean": _known(mean),
                "low": _known(low),
                "high": _known(high),
                "parameters": done[0]["parameters"] if done else None,
                "seconds": float(np.mean([row["seconds"] for row in done])) if done else None,
            }
        )
    return found


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """The groups as text in columns; labels that are the same everywhere are left out."""
    if not found:
        return "no members"
    names = varying(found)
    metric = (found[0]["metric"] or "metric").replace("_", " ")
    head = [*names]
    solving = any(group["solved"] is not None for group in found)
    if solving:
        head += ["solved", "median step"]
    head += [f"test {metric}", "95 % interval", "parameters", "seconds"]
    troubled = [name for name in ("failed", "unfinished") if any(_count(group, name) for group in found)]
    lines = [[*head, *troubled]]
    for group in found:
        line = [str(group["labels"].get(name, "")) for name in names]
        if solving:
            done = group["finished"] + group["failed"]
            never = "never" if done else "-"
            median = group["median_step"]
            line += [f"{group['solved']}/{done}", never if median is None else f"{median:,.0f}"]
        interval = "-" if group["low"] is None else f"{_number(group['low'])} to {_number(group['high'])}"
        parameters = "-" if group["parameters"] is None else f"{group['parameters']:,}"
        seconds = "-" if group["seconds"] is None else f"{group['seconds']:,.0f}"
        line += [_number(group["mean"]), interval, parameters, seconds]
        lines.append(line + [str(_count(group, name)) for name in troubled])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = []
    for line in lines:
        cells = [
            cell.ljust(width) if column < len(names) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)


def _count(group: Mapping[str, Any], name: str) -> int:
    return group["failed"] if name == "failed" else group["members"] - group["finished"] - group["failed"]


def _write_csv(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for line in lines for name in line))
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(lines)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free or allow space there") from error


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of one level, for a CSV file."""
    flat = {name: row[name] for name in ("name", "status") if name in row}
    flat |= {**row["labels"]}
    for name, value in row.items():
        if name == "figures":
            flat |= {f"{split}_{m}": v for split, figures in value.items() for m, v in figures.items()}
        elif name not in ("labels", "chance"):
            flat[name] = value
    return flat


def summarise(directory: str | os.PathLike[str], metric: str = "") -> list[dict[str, Any]]:
    """Groups the members, and writes summary.json, summary.csv (groups) and members.csv beside them.

    Args:
      directory: of the sweep, finished or not.
      metric: compared; "" for the sweep's own.

    Returns:
      The groups.

    Raises:
      UserError: there is no sweep, the metric is unknown, or a file cannot be written.
    """
    paths = SweepPaths(directory)
    members = rows(directory)
    found = groups(members, metric or paths.read()["metric"])
    write_json(paths.summary, {"groups": found, "members": members})
    _write_csv(paths.root / "summary.csv", [_flat(group) for group in found])
    _write_csv(paths.root / "members.csv", [_flat(row) for row in members])
    return found
