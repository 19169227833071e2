"""Learning curves with bands over seeds."""

from typing import Any

from lstm_jax.analysis.variants import looks, median_over_seeds
from lstm_jax.sweep.comparison import Comparison, curves, name_of
from lstm_jax.sweep.plots import MOST
from lstm_jax.sweep.report.chart import (
    SYMBOLS,
    Chart,
    Figure,
    Section,
    draw_chance,
    drawn,
    layout_of,
    line_of,
    plain,
    rounded,
    tint,
    values_axis,
)

__all__ = ["learning"]

LENGTHS = 8
"""Lengths that get learning curves of their own; of more, these spread evenly."""


def learning(c: Comparison) -> Section | None:
    """Validation against training steps, for each length."""
    runs, variants, left = drawn(c, MOST)
    found = curves(c, [run["name"] for run in runs])
    styles = looks(variants)
    charts: list[Chart] = []
    lengths: list[Any] = list(c.lengths) or [None]
    if len(lengths) > LENGTHS:
        lengths = [lengths[round(i * (len(lengths) - 1) / (LENGTHS - 1))] for i in range(LENGTHS)]
    for length in lengths:
        data: list[Figure] = []
        every: list[float] = []
        for variant, look in styles.items():
            mine = [found[r["name"]] for r in runs if (r["variant"], r["length"]) == (variant, length)]
            mine = [curve for curve in mine if len(curve[0])]
            if not mine:
                continue
            steps, median, low, high = (
                list(map(float, part)) for part in median_over_seeds(mine, "quartiles")
            )
            every += median
            data.append(
                {"type": "scatter", "mode": "lines", "x": [*steps, *steps[::-1]], "fill": "toself",
                 "y": [*rounded(high), *rounded(low)[::-1]], "fillcolor": tint(look.colour, 0.16),
                 "line": {"width": 0, "color": look.colour}, "hoverinfo": "skip", "showlegend": False,
                 "legendgroup": variant, "name": plain(variant)}
            )  # fmt: skip
            data.append(
                {"type": "scatter", "mode": "lines+markers" if len(steps) <= 30 else "lines",
                 "name": plain(variant), "legendgroup": variant, "x": steps, "y": rounded(median),
                 "line": line_of(look), "marker": {"symbol": SYMBOLS[look.marker], "size": 6},
                 "hovertemplate": "%{fullData.name}<br>step %{x:,}<br>median %{y:.4g}<extra></extra>"}
            )  # fmt: skip
        if not data:
            continue
        layout = layout_of("training steps", f"valid {name_of(c.metric)}")
        layout["legend"]["title"] = {"text": plain(c.kind)}
        layout["xaxis"]["rangemode"] = "tozero"
        layout["xaxis"]["tickformat"] = ",d"
        values_axis(c, layout["yaxis"], every)
        draw_chance(layout, c.chance().get(length))
        title = "" if length is None else f"{name_of(c.length)} {length}"
        says = f"valid {name_of(c.metric)} against training steps {title}"
        charts.append(Chart(f"learning-{len(charts)}", title, says, {"data": data, "layout": layout}))
    if not charts:
        return None
    caption = (
        "Lines: median over seeds; bands: from the lower to the upper quartile. A run that has ended, as one "
        "that has solved its task does, keeps its last value; a line ends with the last of its runs."
        f"{left}"
    )
    return Section("learning", "Learning curves", caption, charts, ("learning_bands",))
