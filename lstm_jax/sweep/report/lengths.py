"""The metric, and the share of seeds that solved the task, by length."""

import math

import numpy as np

from lstm_jax.analysis.parallel_coordinates import RAMP
from lstm_jax.analysis.style import COLOURS
from lstm_jax.analysis.variants import looks
from lstm_jax.sweep.comparison import Comparison
from lstm_jax.sweep.plots import MOST
from lstm_jax.sweep.report.chart import (
    SYMBOLS,
    Chart,
    Figure,
    Section,
    draw_chance,
    drawn,
    layout_of,
    length_axis,
    line_of,
    metric_name,
    metric_unit,
    plain,
    rounded,
    values_axis,
)
from lstm_jax.sweep.table import number

__all__ = ["by_length", "maps"]

ROWS = 60
"""Rows of a map; of more variants the best are drawn."""


def by_length(c: Comparison) -> Section | None:
    """The metric against the length: median and runs."""
    if len(c.lengths) < 2:
        return None
    runs, variants, left = drawn(c, MOST)
    data: list[Figure] = []
    for place, (variant, look) in enumerate(looks(variants).items()):
        mine = [run for run in runs if run["variant"] == variant and math.isfinite(run["value"])]
        at = sorted({run["length"] for run in mine})
        medians = [float(np.median([r["value"] for r in mine if r["length"] == length])) for length in at]
        shift = 1 + 0.012 * (place - (len(variants) - 1) / 2)
        data.append(
            {"type": "scatter", "mode": "lines+markers", "name": plain(variant), "legendgroup": variant,
             "x": [length * shift for length in at], "y": rounded(medians), "line": line_of(look),
             "marker": {"symbol": SYMBOLS[look.marker], "size": 8, "color": look.colour},
             "text": [f"{c.length_label} {length:g}" for length in at],
             "hovertemplate": "%{fullData.name}<br>%{text}<br>median %{y:.4g}<extra></extra>"}
        )  # fmt: skip
        data.append(
            {"type": "scatter", "mode": "markers", "name": plain(variant), "legendgroup": variant,
             "showlegend": False, "x": [run["length"] * shift for run in mine],
             "y": rounded(run["value"] for run in mine),
             "marker": {"size": 5, "color": look.colour, "opacity": 0.5},
             "text": [plain(run["name"]) for run in mine],
             "hovertemplate": "%{text}<br>%{y:.4g}<extra></extra>"}
        )  # fmt: skip
    layout = layout_of(c.length_label, metric_unit(c))
    layout["legend"]["title"] = {"text": plain(c.kind)}
    length_axis(layout["xaxis"], c.lengths)
    values_axis(c, layout["yaxis"], [run["value"] for run in runs])
    levels = {length: level for length, level in c.chance().items() if length is not None}
    if len({round(level, 9) for level in levels.values()}) == 1:
        draw_chance(layout, next(iter(levels.values())))
    elif levels:
        ordered = sorted(levels.items())
        data.append({"type": "scatter", "mode": "lines", "name": "chance", "x": [x for x, _ in ordered],
                     "y": [y for _, y in ordered],
                     "line": {"color": "@muted", "dash": "dash", "width": 1.2}})  # fmt: skip
    chart = Chart("by-length", "", f"{metric_name(c)} against {c.length_label}, a line a variant",
                  {"data": data, "layout": layout}, 440)  # fmt: skip
    caption = f"Lines: median over seeds. Dots: runs, side by side where they would hide each other.{left}"
    return Section(
        "length", f"{metric_name(c).capitalize()} by length", caption, [chart], ("curve_by_length",)
    )


def maps(c: Comparison) -> Section | None:
    """The share of seeds that solved the task, or the mean of the metric, by variant and length."""
    if len(c.lengths) < 2:
        return None
    runs, variants, left = drawn(c, ROWS)
    solving = c.criterion
    shares: list[list[float | None]] = []
    texts: list[list[str]] = []
    for variant in variants:
        row: list[float | None] = []
        words = []
        for length in c.lengths:
            cell = [run for run in runs if (run["variant"], run["length"]) == (variant, length)]
            if solving:
                solved = sum(run["solved"] for run in cell)
                row.append(solved / len(cell) if cell else None)
                words.append(f"{solved}/{len(cell)}" if cell else "")
            else:
                finite = [run["value"] for run in cell if math.isfinite(run["value"])]
                row.append(rounded([float(np.mean(finite))])[0] if finite else None)
                words.append(number(row[-1], digits=3) if finite else "")
        shares.append(row)
        texts.append(words)
    what = "share of seeds solved" if solving else f"mean {metric_name(c)}"
    colours = [[0, "#FFFFFF"], [0.5, "#9CC7E4"], [1, COLOURS["blue"]]] if solving else [
        [index / (len(RAMP) - 1), colour] for index, colour in enumerate(RAMP)
    ]  # fmt: skip
    heat: Figure = {
        "type": "heatmap", "x": [f"{length:g}" for length in c.lengths], "y": [plain(v) for v in variants],
        "z": shares, "text": texts, "texttemplate": "%{text}", "colorscale": colours, "xgap": 2, "ygap": 2,
        "hovertemplate": f"%{{y}}<br>{plain(c.length_label)} %{{x}}<br>%{{text}}<extra></extra>",
        "colorbar": {"title": {"text": what, "side": "right"}, "thickness": 12, "outlinewidth": 0},
    }  # fmt: skip
    if solving:
        heat |= {"zmin": 0, "zmax": 1, "showscale": False}  # its cells say it
    layout = layout_of(c.length_label, c.kind or "")
    layout["xaxis"] |= {"type": "category", "showgrid": False, "ticks": ""}
    layout["yaxis"] |= {"type": "category", "showgrid": False, "ticks": "", "autorange": "reversed"}
    says, wide = (
        f"{what} by variant and {c.length_label}",
        7 * max(map(len, variants)) + 36 * len(c.lengths) + 60,
    )
    chart = Chart("map", "", says, {"data": [heat], "layout": layout}, 130 + 34 * len(variants), wide)
    counted = (
        "Solved of all that ended, the darker the more; failed runs count as not solved."
        if solving
        else "Mean over seeds."
    )
    title = "Solved by length" if solving else f"{metric_name(c).capitalize()} by variant and length"
    return Section("map-section", title, counted + left, [chart], ("solved_map", "steps_to_solve"))
