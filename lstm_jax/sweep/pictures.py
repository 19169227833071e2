"""The figures that fit a sweep, drawn from its members' results and metrics."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_jax.analysis.solved import solved_map, steps_to_solve
from lstm_jax.analysis.variants import curve_by_length, learning_bands
from lstm_jax.metrics import read_metrics
from lstm_jax.run_directory import RunPaths
from lstm_jax.sweep.baseline import varying
from lstm_jax.sweep.directory import SweepPaths
from lstm_jax.sweep.summary import metric_of, rows

__all__ = ["draw", "plain_rows", "variant_of"]


def variant_of(labels: Mapping[str, Any], names: Sequence[str]) -> str:
    """What a member is, beside its length and seed, in words: "1", or "cell=gru, hidden=64"."""
    if len(names) == 1:
        return str(labels.get(names[0], ""))
    return ", ".join(
        str(labels[name]) if name == "variant" else f"{name.replace('_', ' ')}={labels[name]}"
        for name in names
        if name in labels
    )


def plain_rows(members: Sequence[Mapping[str, Any]], length: str, metric: str) -> tuple[list[dict], str]:
    """(rows for the figures of lstm_jax.analysis, what their variants are).

    Args:
      members: rows of `summary.rows`; those without an end (no result, no failure) are left out.
      length: label of the axis of lengths, or "".
      metric: the value of a row; NaN for a failed member, which counts as not solved.
    """
    names = [name for name in varying([row["labels"] for row in members]) if name != length]
    found = []
    for row in members:
        if row["status"] not in ("finished", "failed"):
            continue
        done = row["status"] == "finished"
        found.append(
            {
                "name": row["name"],
                "variant": variant_of(row["labels"], names),
                "length": row["labels"].get(length) if length else None,
                "seed": row["seed"],
                "solved": bool(done and row["solved"]),
                "solved_step": row["solved_step"] if done else None,
                "steps": row["steps"] if done else None,
                "value": row["figures"]["test"][metric] if done else float("nan"),
                "chance": row["chance"].get(metric) if done else None,
            }
        )
    kind = names[0].replace("_", " ") if len(names) == 1 and names[0] != "variant" else ""
    return found, kind


def draw(directory: str | os.PathLike[str], title: str = "") -> list[Path]:
    """Draws what fits and returns the files: figures/NAME.png.

    solved_map and steps_to_solve where the task has a criterion; curve_by_length where the length varies;
    learning_bands, one for each length.

    Args:
      directory: of the sweep, finished or not; members without an end are left out.
      title: above the figures; the sweep's name where "".

    Raises:
      UserError: there is no sweep, or what it left cannot be read.
    """
    paths = SweepPaths(directory)
    record, members = paths.read(), rows(directory)
    finished = [row for row in members if row["status"] == "finished"]
    if not finished:
        return []
    title = title or paths.root.name
    first = finished[0]
    metric = metric_of({"figures": {"static": first["figures"]}, "chance": first["chance"]}, record["metric"])
    length = record["length"]
    drawn, kind = plain_rows(members, length, metric)
    lengths = sorted({row["length"] for row in drawn if row["length"] is not None})
    length_label = record["length_label"]
    several = len({row["variant"] for row in drawn}) > 1
    figures = {}
    if first["solved"] is not None:
        if several or len(lengths) > 1:
            figures["solved_map"] = solved_map(
                drawn, length_label=length_label, legend=kind or "variant", title=title
            )
        if any(row["solved"] for row in drawn):
            figures["steps_to_solve"] = steps_to_solve(
                drawn, length_label=length_label, legend=kind, title=title
            )
    if len(lengths) > 1:
        chance = {row["length"]: row["chance"] for row in drawn if row["chance"] is not None}
        figures["curve_by_length"] = curve_by_length(
            drawn, metric=f"test {metric}", chance=chance or None, length_label=length_label, legend=kind,
            title=title,
        )  # fmt: skip
    for value in lengths or [None]:
        curves: dict[str, list] = {}
        chance_here = None
        for row in drawn:
            if row["length"] == value:
                curves.setdefault(row["variant"], []).append(_curve(paths.member(row["name"]), metric))
                chance_here = row["chance"] if chance_here is None else chance_here
        if not any(len(run[0]) for runs in curves.values() for run in runs):
            continue
        name = "learning_bands" if value is None else f"learning_bands_{length}_{value}"
        figures[re.sub(r"[^\w.-]+", "-", name)] = learning_bands(
            curves, metric=metric, chance=chance_here, legend=kind,
            title=title if value is None else f"{title}: {length} {value}",
        )  # fmt: skip
    paths.figures.mkdir(exist_ok=True)
    files = []
    for name, figure in figures.items():
        files.append(paths.figures / f"{name}.png")
        figure.savefig(files[-1], dpi=200)
    return files


def _curve(directory: Path, metric: str) -> tuple[list[float], list[float]]:
    """Steps and values of a run's evaluations on valid."""
    path = RunPaths(directory).metrics
    evaluated = [row for row in (read_metrics(path) if path.exists() else []) if row["kind"] == "valid"]
    kept = [row for row in evaluated if metric in row]
    return [row["step"] for row in kept], [row[metric] for row in kept]
