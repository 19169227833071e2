"""Parallel coordinates, and the metric field by field."""

import math

from lstm_jax.analysis.parallel_coordinates import FAILED, RAMP, Scale, jitter, metric_scale, scale_of
from lstm_jax.analysis.style import COLOURS
from lstm_jax.sweep.comparison import Comparison, Margin, margins, name_of
from lstm_jax.sweep.report.chart import (
    Chart,
    Figure,
    Section,
    draw_chance,
    layout_of,
    metric_name,
    metric_unit,
    plain,
    rounded,
    values_axis,
)
from lstm_jax.sweep.statistics import NARROW
from lstm_jax.sweep.table import number

__all__ = ["marginal", "parallel"]

TONES = 12
"""Colours of the lines of parallel coordinates."""
LONGEST = 24
"""Characters of a tick."""


def _ramp(share: float) -> str:
    place = share * (len(RAMP) - 1)
    low = min(int(place), len(RAMP) - 2)
    one, two = RAMP[low], RAMP[low + 1]
    mixed = [
        round(int(one[i : i + 2], 16) * (1 - place + low) + int(two[i : i + 2], 16) * (place - low))
        for i in (1, 3, 5)
    ]
    return "#" + "".join(f"{part:02X}" for part in mixed)


def parallel(c: Comparison) -> Section | None:
    """An axis a field, a line a run; page.js shows those that are chosen."""
    fields = [*c.fields, *([c.length] if len(c.lengths) > 1 else [])]
    runs = [run for run in c.runs if all(field in run["labels"] for field in fields)]
    if not fields or not runs:
        return None
    scales = [scale_of([run["labels"][field] for run in runs]) for field in fields]
    last = metric_scale([run["value"] for run in runs])
    index = {row["name"]: place for place, row in enumerate(c.members)}
    by_tone: dict[int, list[int]] = {}
    for place, at in enumerate(last.at):
        by_tone.setdefault(-1 if math.isnan(at) else min(TONES - 1, int(at * TONES)), []).append(place)
    tones = sorted(by_tone, reverse=not c.high)  # the best are drawn last, on top
    opacity = max(0.25, min(0.85, 60 / len(runs)))
    faded = {"type": "scatter", "mode": "lines", "x": [], "y": [], "hoverinfo": "skip", "showlegend": False,
             "line": {"color": "@faded", "width": 1}, "meta": {"faded": True}}  # fmt: skip
    data: list[Figure] = [faded]
    for tone in tones:
        xs: list[float | None] = []
        ys: list[float | None] = []
        for place in by_tone[tone]:
            shift = 0.02 * jitter(place)
            end = FAILED if tone < 0 else last.at[place]
            xs += [*range(len(fields) + 1), None]
            ys += [*rounded([scale.at[place] + shift for scale in scales]), *rounded([end]), None]
        colour = "@muted" if tone < 0 else _ramp((tone + 0.5) / TONES)
        data.append(
            {"type": "scatter", "mode": "lines", "x": xs, "y": ys, "showlegend": False,
             "opacity": opacity, 
             "line": {"color": colour, "width": 1.6, "dash": "dot" if tone < 0 else "solid"},
             "hovertemplate": "%{text}<extra></extra>",
             "meta": {"members": [index[runs[place]["name"]] for place in by_tone[tone]],
                      "slot": len(fields) + 2}}
        )  # fmt: skip
    layout = layout_of("", "", hovermode="closest")
    left, right = (min(LONGEST, max(len(text) for _, text in scale.ticks)) for scale in (scales[0], last))
    layout["margin"] |= {"t": 56, "b": 16, "l": max(48, 16 + 7 * left), "r": max(56, 20 + 7 * right)}
    low = -0.14 if -1 in by_tone else -0.05
    layout["xaxis"] |= {"visible": False, "range": [-0.02, len(fields) + 0.02], "fixedrange": True}
    layout["yaxis"] |= {"visible": False, "range": [low, 1.05], "fixedrange": True}
    layout["shapes"], layout["annotations"] = [], []
    for x, (field, scale) in enumerate(zip([*fields, ""], [*scales, last], strict=True)):
        _one_axis(layout, x, name_of(field) if field else metric_name(c), scale, right=x == len(fields))
    for tone in range(TONES):  # the metric's axis is the key of the colours
        data.append({"type": "scatter", "mode": "lines", "x": [len(fields)] * 2, "showlegend": False,
                     "y": [tone / TONES, (tone + 1) / TONES], "hoverinfo": "skip",
                     "line": {"color": _ramp((tone + 0.5) / TONES), "width": 7}})  # fmt: skip
    if -1 in by_tone:
        layout["annotations"].append(_tick(len(fields), FAILED, "failed", right=True))
    says = f"parallel coordinates of {', '.join(map(name_of, fields))}, by {metric_name(c)}"
    wide = 90 * len(fields) + layout["margin"]["l"] + layout["margin"]["r"]
    chart = Chart("parallel", "", says, {"data": data, "layout": layout}, 460, wide)
    caption = "A line a run, coloured by its metric as the axis at the right is; runs lie a little apart."
    return Section("parallel-section", "Parallel coordinates", caption, [chart], ("parallel_coordinates",))


def _tick(x: float, y: float, text: str, *, right: bool) -> Figure:
    return {
        "x": x, "y": y, "text": plain(text, LONGEST), "showarrow": False,
        "xanchor": "left" if right else "right", "xshift": 7 if right else -5, "font": {"size": 12},
        "bgcolor": "@veil", "borderpad": 1,
    }  # fmt: skip


def _one_axis(layout: Figure, x: int, title: str, scale: Scale, *, right: bool) -> None:
    layout["shapes"].append({"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1,
                             "line": {"color": "@text", "width": 1}})  # fmt: skip
    layout["annotations"].append({"x": x, "y": 1.05, "text": f"<b>{plain(title)}</b>", "showarrow": False,
                                  "yanchor": "bottom"})  # fmt: skip
    layout["annotations"] += [_tick(x, place, text, right=right) for place, text in scale.ticks]


def marginal(c: Comparison) -> Section | None:
    """The metric against each field."""
    found = margins(c)
    charts = [_margin(c, margin, place) for place, margin in enumerate(found)]
    if not charts:
        return None
    lost = [f"{name_of(m.field)} {m.left_out} of {m.settings}" for m in found if m.means and m.left_out]
    without = f" Left out of the means: {', '.join(lost)}." if lost else ""
    caption = (
        "The other fields are pooled. Dots: runs. Diamonds: mean over seeds of each seed's mean over those "
        f"settings of the other fields of which every run ended with a finite value.{without} Bars: its "
        f"95 % bootstrap interval over seeds; a field with many values has dots alone. {NARROW}"
    )
    return Section("marginals", "Field by field", caption, charts, ("marginals",))


def _margin(c: Comparison, margin: Margin, place: int) -> Chart:
    scale = scale_of(margin.values)
    at = dict(zip(margin.values, scale.at, strict=True))
    wide = 0.5 / max(1, len(at)) if margin.means else 0.0
    kept = [
        (x + wide * jitter(index), run)
        for index, (x, run) in enumerate(zip(scale.at, margin.runs, strict=True))
        if math.isfinite(run["value"])
    ]
    data: list[Figure] = [
        {"type": "scatter", "mode": "markers", "name": "runs", "showlegend": False,
         "x": rounded(x for x, _ in kept),
         "y": rounded(run["value"] for _, run in kept), "text": [plain(run["name"]) for _, run in kept],
         "marker": {"size": 6, "color": COLOURS["sky"], "opacity": 0.6},
         "hovertemplate": "%{text}<br>%{y:.4g}<extra></extra>"}
    ]  # fmt: skip
    means = [(value, *found) for value, found in margin.means.items() if math.isfinite(found[0])]
    if means:
        ups = [high - mean if math.isfinite(high) else 0.0 for _, mean, _, high in means]
        downs = [mean - low if math.isfinite(low) else 0.0 for _, mean, low, _ in means]
        data.append(
            {"type": "scatter", "mode": "markers", "name": "mean", "showlegend": False,
             "x": [at[value] for value, *_ in means], "y": rounded(mean for _, mean, *_ in means),
             "error_y": {"type": "data", "symmetric": False, "array": rounded(ups),
                         "arrayminus": rounded(downs), "thickness": 2, "width": 5},
             "marker": {"size": 10, "symbol": "diamond", "color": COLOURS["vermilion"]},
             "text": [plain(value) for value, *_ in means],
             "customdata": [[number(low, digits=3), number(high, digits=3)] for *_, low, high in means],
             "hovertemplate": "%{text}<br>mean %{y:.4g} [%{customdata[0]}, %{customdata[1]}]<extra></extra>"}
        )  # fmt: skip
    layout = layout_of(name_of(margin.field), metric_unit(c))
    layout["xaxis"] |= {
        "tickvals": [place for place, _ in scale.ticks],
        "ticktext": [plain(text, LONGEST) for _, text in scale.ticks],
        "range": [-0.12, 1.12], "showgrid": False, "ticklabeloverflow": "allow",
    }  # fmt: skip
    values_axis(c, layout["yaxis"], [run["value"] for run in margin.runs])
    draw_chance(layout, c.one_chance)
    name = name_of(margin.field)
    says = f"{metric_name(c)} against {name}"
    return Chart(f"margin-{place}", name, says, {"data": data, "layout": layout}, 340)
