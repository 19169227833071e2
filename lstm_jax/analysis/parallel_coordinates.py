"""Parallel coordinates: an axis a field, a line a run, coloured by its metric."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lstm_jax.analysis.style import COLOURS, headline, new_figure, show_data

__all__ = [
    "FAILED",
    "RAMP",
    "Scale",
    "jitter",
    "metric_scale",
    "number_scale",
    "parallel_coordinates",
    "scale_of",
]

RAMP = (COLOURS["blue"], COLOURS["purple"], COLOURS["orange"])
"""From low to high: told apart by the colour-blind, by lightness in grey, and seen on white and on black."""
FAILED = -0.09
"""Where on the metric's axis a run without a finite value ends: below it."""
TICKS = 8


class Scale(NamedTuple):
    """Where the values of an axis lie.

    Attributes:
      at: 0 (bottom) to 1 (top), one a value; NaN where the value is not finite.
      ticks: (place, text), rising.
      logarithmic: whether equal steps are equal factors.
    """

    at: list[float]
    ticks: list[tuple[float, str]]
    logarithmic: bool


def _plain(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 and value == int(value) else f"{value:.4g}"


def number_scale(values: Sequence[float], ticks: Sequence[float] = (), factor: float = 20) -> Scale:
    """The scale of numbers: logarithmic where all are positive and span a factor of `factor` or more.

    Args:
      values: what is placed.
      ticks: where ticks are wanted; () chooses.
      factor: from which on it is logarithmic.
    """
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    logarithmic = low > 0 and high / low >= factor

    def place(value: float) -> float:
        if not math.isfinite(value):
            return math.nan
        if low == high:
            return 0.5
        if logarithmic:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    if not ticks and low == high:
        ticks = [low]
    elif not ticks and logarithmic:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = (1, 2, 5) if high / low < 2000 else (1,)
        ticks = [step * 10.0**power for power in powers for step in steps]
    elif not ticks:
        ticks = [float(tick) for tick in MaxNLocator(5).tick_values(low, high)]
    inside = [tick for tick in ticks if low <= tick <= high]
    return Scale([place(value) for value in values], [(place(t), _plain(t)) for t in inside], logarithmic)


def scale_of(values: Sequence[Any]) -> Scale:
    """The scale of a field: that of numbers, with a tick at each where they are few; names evenly."""
    distinct = list(dict.fromkeys(values))
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in distinct):
        return number_scale(values, sorted(distinct) if len(distinct) <= TICKS else (), factor=4)
    places = {value: index / max(1, len(distinct) - 1) for index, value in enumerate(distinct)}
    return Scale([places[value] for value in values], [(places[v], str(v)) for v in distinct], False)


def metric_scale(values: Sequence[float]) -> Scale:
    """The scale of a metric: that of numbers, but linear for shares that span most of 0 to 1."""
    finite = [value for value in values if math.isfinite(value)]
    share = bool(finite) and min(finite) >= 0 and 0.5 < max(finite) <= 1
    return number_scale(values, factor=math.inf if share else 20)


def jitter(index: int) -> float:
    """A shift from -0.5 to 0.5 for a run, by its number; any few that follow each other are spread evenly."""
    return (index * 0.6180339887498949) % 1.0 - 0.5


def parallel_coordinates(
    fields: Mapping[str, Sequence[Any]],
    values: Sequence[float],
    *,
    metric: str = "accuracy",
    title: str = "",
) -> Figure:
    """One line a run over an axis a field and, at the right, one for the metric, which colours it.

    Lines are drawn a little apart, so that runs of the same settings do not hide each other.

    Args:
      fields: label -> the value of each run.
      values: the metric of each run; one that is not finite is grey, dashed, and ends at "failed".
      metric: name for its axis.
      title: above the figure.

    Returns:
      A figure of 6.4 x 3.6 inches.
    """
    figure = new_figure(3.6)
    axes = figure.subplots()
    scales = [scale_of(list(column)) for column in fields.values()]
    last = metric_scale(list(values))
    spread = 0.02
    lines = np.array([scale.at for scale in scales]).T
    lines = lines + spread * np.array([[jitter(index)] for index in range(len(values))])
    ends = np.array([FAILED if math.isnan(at) else at for at in last.at])
    lines = np.concatenate([lines, ends[:, None]], axis=1)
    xs = np.arange(lines.shape[1])
    colours = LinearSegmentedColormap.from_list("ramp", RAMP)
    ended = np.isfinite(np.asarray(last.at))
    opacity = float(np.clip(40 / max(1, len(values)), 0.15, 0.7))
    grey: dict[str, Any] = {"colors": COLOURS["grey"], "linestyles": "dashed"}
    for kept, style in ((~ended, grey), (ended, {})):
        segments = [np.stack([xs, line], axis=1) for line in lines[kept]]
        if not segments:
            continue
        drawn = LineCollection(segments, linewidths=1.1, alpha=opacity, **style)
        if kept is ended:
            drawn.set_array(np.asarray(last.at)[ended])
            drawn.set_cmap(colours)
            drawn.set_norm(Normalize(0, 1))
        axes.add_collection(drawn)
    for x, scale in enumerate([*scales, last]):
        axes.plot([x, x], [0, 1], color="black", linewidth=0.8, zorder=3)
        for place, text in scale.ticks:
            right = x == len(scales)
            axes.annotate(
                text, xy=(x, place), xytext=(4 if right else -4, 0), textcoords="offset points",
                ha="left" if right else "right", va="center", fontsize=7, zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6},
            )  # fmt: skip
    if not ended.all():
        axes.annotate(
            "failed", xy=(len(scales), FAILED), xytext=(4, 0), textcoords="offset points", ha="left",
            va="center", fontsize=7, color=COLOURS["grey"],
        )  # fmt: skip
    names = [name.replace("_", " ") for name in fields]
    axes.set_xticks(xs, [*names, f"test {metric.replace('_', ' ')}"], fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_xlim(-0.45, len(scales) + 0.35)
    axes.set_ylim(FAILED - 0.04 if not ended.all() else -0.04, 1.04)
    headline(figure, title)
    columns = zip(*fields.values(), values, strict=True)
    show_data(figure, [dict(zip([*fields, metric], row, strict=True)) for row in columns])
    return figure
