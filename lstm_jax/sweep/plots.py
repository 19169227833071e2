"""The figures that fit a sweep, drawn from its members' results and metrics."""

import os
import re
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lstm_jax.analysis.files import PNG, Print, save_figures
from lstm_jax.analysis.marginals import Panel, marginals
from lstm_jax.analysis.parallel_coordinates import parallel_coordinates
from lstm_jax.analysis.solved import solved_map, steps_to_solve
from lstm_jax.analysis.style import in_words
from lstm_jax.analysis.variants import curve_by_length, learning_bands
from lstm_jax.sweep.comparison import Comparison, Margin, curves, margins, name_of, read, shown_variants

__all__ = ["MOST", "draw"]

MOST = 12
"""Variants that a figure of lines has room for; of more, the best by their mean are drawn."""


def draw(
    directory: str | os.PathLike[str],
    title: str = "",
    comparison: Comparison | None = None,
    how: Print = PNG,
) -> list[Path]:
    """Draws what fits and returns the files: figures/NAME.png, with its data in figures/NAME.csv.

    solved_map and steps_to_solve where the task has a criterion; curve_by_length where the length varies;
    learning_bands, one for each length; parallel_coordinates and marginals where a field varies. Of more
    than MOST variants the best are drawn, as the title reports.

    Args:
      directory: of the sweep, finished or not; members without an end are left out.
      title: above the figures; the sweep's name where "".
      comparison: the sweep as it was read, with the metric to draw; None reads it.
      how: formats and width.

    Raises:
      UserError: there is no sweep, or what it left cannot be read.
    """
    c = read(directory) if comparison is None else comparison
    if not any(row["status"] == "finished" for row in c.members):
        return []
    title = title or in_words(c.paths.root.name)
    variants = shown_variants(c, MOST)
    drawn = [run for run in c.runs if run["variant"] in variants]
    every = len({run["variant"] for run in c.runs})
    some = title if len(variants) == every else f"{title}: {len(variants)} best of {every} variants"
    look: dict[str, Any] = {"length_label": c.length_label, "legend": c.kind, "title": some}
    figures = {}
    if c.criterion:
        if every > 1 or len(c.lengths) > 1:
            figures["solved_map"] = _solved_map(c, drawn, look)
        if any(run["solved"] for run in drawn):
            figures["steps_to_solve"] = steps_to_solve(drawn, **look)
    chance = c.chance()
    if len(c.lengths) > 1:
        figures["curve_by_length"] = curve_by_length(
            drawn, metric=f"test {c.metric}", chance=chance or None, **look
        )
    figures |= _bands(c, drawn, variants, some)
    if every > 1 or len(c.lengths) > 1:
        figures |= _by_field(c, title)
    return save_figures(figures, c.paths.figures, how)


def _solved_map(c: Comparison, drawn: list[dict[str, Any]], look: dict[str, Any]) -> Figure:
    """Returns the map by variant and length, or, of a sweep of two fields at one length, by both fields."""
    if len(c.fields) == 2 and len(c.lengths) < 2 and all(set(c.fields) <= set(r["labels"]) for r in drawn):
        down, across = c.fields
        rows = [
            run | {"variant": str(run["labels"][down]), "length": str(run["labels"][across])} for run in drawn
        ]
        return solved_map(rows, **look | {"legend": name_of(down), "length_label": name_of(across)})
    return solved_map(drawn, **look | {"legend": c.kind or "variant"})


def _bands(c: Comparison, drawn: list[dict[str, Any]], variants: list[str], title: str) -> dict[str, Figure]:
    """Returns the learning curves of each length."""
    figures = {}
    chance = c.chance()
    found = curves(c, [run["name"] for run in drawn])
    for value in c.lengths or [None]:
        bands = {
            variant: [found[r["name"]] for r in drawn if (r["variant"], r["length"]) == (variant, value)]
            for variant in variants
        }
        if not any(len(steps) for runs in bands.values() for steps, _ in runs):
            continue
        name = "learning_bands" if value is None else f"learning_bands_{c.length}_{value}"
        figures[re.sub(r"[^\w.-]+", "-", name)] = learning_bands(
            bands, metric=c.metric, chance=chance.get(value), band="quartiles", legend=c.kind,
            title=title if value is None else f"{title}: {name_of(c.length)} {value}",
        )  # fmt: skip
    return figures


def _without(margin: Margin) -> str:
    """Returns the note of a panel on what its means leave out."""
    if not (margin.means and margin.left_out):
        return ""
    return f"means without {margin.left_out} of {margin.settings} settings"


def _by_field(c: Comparison, title: str) -> dict[str, Any]:
    fields = [*c.fields, *([c.length] if c.length and len(c.lengths) > 1 else [])]
    whole = [run for run in c.runs if all(field in run["labels"] for field in fields)]
    figures = {}
    if whole:
        figures["parallel_coordinates"] = parallel_coordinates(
            {field: [run["labels"][field] for run in whole] for field in fields},
            [run["value"] for run in whole], metric=c.metric, title=title,
        )  # fmt: skip
    panels = [
        Panel(m.field, m.values, [run["value"] for run in m.runs], m.means, _without(m)) for m in margins(c)
    ]
    if panels:
        figures["marginals"] = marginals(panels, metric=c.metric, chance=c.one_chance, title=title)
    return figures
