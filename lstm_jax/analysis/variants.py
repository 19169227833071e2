"""Variants compared over seeds: a metric against length, and against training steps."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from lstm_jax.analysis.style import COLOURS, headline, log_ticks, new_figure, show_data, tidy

__all__ = [
    "Look",
    "curve_by_length",
    "draw_chance",
    "learning_bands",
    "length_axis",
    "looks",
    "median_over_seeds",
    "share_axis",
]

_ORDER = (
    *("blue", "vermilion", "green", "orange", "purple", "sky"),
    *("grey", "wine", "olive", "indigo", "brown", "black"),
)
_MARKERS = "osD^vPX*hp<>"
_DASHES = ("-", (0, (5, 2)), (0, (1, 1)))
_HALF = 6
"""Colours after which the dashes change: later ones are less easily distinguished."""


class Look(NamedTuple):
    """How one variant is drawn; colour, marker and dashes each distinguish it from its neighbours."""

    colour: str
    marker: str
    dashes: Any


def looks(variants: Iterable[str]) -> dict[str, Look]:
    """A look for each variant, by its place in their order."""
    found = {}
    for index, variant in enumerate(dict.fromkeys(variants)):
        colour = COLOURS[_ORDER[index % len(_ORDER)]]
        dashes = _DASHES[index // _HALF % len(_DASHES)]
        found[variant] = Look(colour, _MARKERS[index % len(_MARKERS)], dashes)
    return found


def length_axis(axes: Axes, lengths: Sequence[float], label: str) -> None:
    """The axis of lengths: logarithmic where they span a factor of 4, with a tick at each."""
    if min(lengths) > 0 and max(lengths) / min(lengths) >= 4:
        axes.set_xscale("log")
    axes.set_xticks(sorted(lengths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(label, fontsize=9)


def draw_chance(axes: Axes, value: float, *, named: bool = True) -> None:
    """Draws a dashed line at the chance level, named outside the axes, where no point lies."""
    axes.axhline(
        value, color=COLOURS["grey"], linewidth=0.9, linestyle=(0, (4, 3)), zorder=1, label="_chance"
    )
    axes.lines[-1].set_gid("chance")
    if named:
        axes.annotate(
            f"chance\n{value:.3g}", xy=(1, value), xycoords=("axes fraction", "data"),
            xytext=(3, 0), textcoords="offset points", ha="left", va="center", fontsize=8,
            color=COLOURS["grey"], annotation_clip=False,
        )  # fmt: skip


def share_axis(axes: Axes, values: Iterable[float]) -> None:
    """The whole range from 0 to 1 for values that span most of it, so that figures compare."""
    finite = [value for value in values if math.isfinite(value)]
    if finite and min(finite) >= 0 and 0.5 < max(finite) <= 1:
        axes.set_ylim(-0.03, 1.03)


def _finish(figure: Figure, axes: Axes, title: str, legend: str, variants: int) -> None:
    headline(figure, title)
    if variants > 1 or legend:
        figure.legend(
            *axes.get_legend_handles_labels(), title=legend or None, title_fontsize=8, fontsize=8,
            frameon=False, loc="outside right center",
        )  # fmt: skip


def curve_by_length(
    rows: Sequence[Mapping[str, Any]],
    *,
    metric: str = "accuracy",
    chance: Mapping[float, float] | float | None = None,
    length_label: str = "length (steps)",
    legend: str = "",
    title: str = "",
) -> Figure:
    """The metric against the length: a line a variant at the median of its seeds, a dot a seed.

    Args:
      rows: {"variant": text, "length": number, "value": the metric}, one a run; what is not finite is
        left out.
      metric: name for the axis.
      chance: its level, or {length: level} where it depends on it.
      length_label: of the axis.
      legend: what the variants are, above their names.
      title: above the figure.

    Returns:
      A figure of 6.4 x 3.6 inches.
    """
    finite = [row for row in rows if math.isfinite(row["value"])]
    figure = new_figure(3.6)
    axes = figure.subplots()
    styles = looks(row["variant"] for row in rows)
    lengths = sorted({row["length"] for row in rows})
    spread = 0.012 if len(lengths) > 1 else 0.0
    for index, (variant, look) in enumerate(styles.items()):
        # Beside each other: seeds of several variants often lie at the same 1.0.
        shift = 1.0 + spread * (index - (len(styles) - 1) / 2)
        mine = [row for row in finite if row["variant"] == variant]
        at = sorted({row["length"] for row in mine})
        medians = [float(np.median([r["value"] for r in mine if r["length"] == length])) for length in at]
        axes.plot(
            [length * shift for length in at], medians, color=look.colour, linestyle=look.dashes,
            marker=look.marker, markersize=5, linewidth=1.6, label=variant, zorder=3,
        )  # fmt: skip
        axes.plot(
            [row["length"] * shift for row in mine], [row["value"] for row in mine], color=look.colour,
            marker=".", markersize=5, alpha=0.5, linestyle="none", zorder=2, gid=f"{variant}, seeds",
        )  # fmt: skip
    length_axis(axes, lengths, length_label)
    axes.set_ylabel(f"{metric.replace('_', ' ')} (median and seeds)", fontsize=9)
    if isinstance(chance, Mapping):
        levels = sorted(chance.items())
        if len({round(level, 9) for _, level in levels}) == 1:
            chance = levels[0][1]
        else:
            axes.plot(
                *zip(*levels, strict=True), color=COLOURS["grey"], linewidth=0.9, linestyle=(0, (4, 3)),
                label="chance", zorder=1,
            )  # fmt: skip
    values = [row["value"] for row in finite]
    if isinstance(chance, int | float):
        draw_chance(axes, chance)
    share_axis(axes, values)
    tidy(axes)
    show_data(
        figure, [{name: row.get(name) for name in ("variant", "length", "seed", "value")} for row in rows]
    )
    _finish(figure, axes, title, legend, len(styles))
    return figure


def _draw_band(axes: Axes, variant: str, look: Look, found: Sequence[np.ndarray], last: float) -> bool:
    """Draws one variant of `learning_bands`; returns whether all its runs ended before the step `last`.

    From there on its last value is drawn dotted, so that a variant that ended early is seen.
    """
    steps, median, low, high = found
    if not len(steps):  # no finite value at all: a name without a line
        axes.plot([], [], linestyle="none", label=f"{variant}\n(no finite value)")
        return False
    axes.fill_between(steps, low, high, color=look.colour, alpha=0.15, linewidth=0, gid=variant)
    axes.plot(
        steps, median, color=look.colour, linestyle=look.dashes, linewidth=1.6, label=variant,
        marker=look.marker, markersize=4, markevery=max(1, len(steps) // 8), zorder=3,
    )  # fmt: skip
    if steps[-1] >= last:
        return False
    axes.plot(
        [steps[-1], last], [median[-1]] * 2, color=look.colour, linestyle=":", linewidth=1.1, zorder=2,
        gid=f"{variant}, ended",
    )  # fmt: skip
    axes.plot(
        [steps[-1]], [median[-1]], color=look.colour, marker=look.marker, markersize=7, linestyle="none",
        markerfacecolor="white", zorder=4, gid=f"{variant}, ended",
    )  # fmt: skip
    return True


def median_over_seeds(
    curves: Sequence[tuple[Sequence[float], Sequence[float]]], band: str = "range"
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(steps, median, low, high) over runs that were evaluated at steps of their own.

    A run that has ended, as one does that has solved its task, keeps its last value; before its first value
    it has none, and where its value is not finite.

    Args:
      curves: (steps, values) of each run, steps rising.
      band: "range", the least and the greatest, or "quartiles".
    """
    grid = np.unique(np.concatenate([np.asarray(steps, np.float64) for steps, _ in curves]))
    held = np.full((len(curves), len(grid)), np.nan)
    for row, (steps, values) in zip(held, curves, strict=True):
        if len(steps):
            at = np.searchsorted(np.asarray(steps, np.float64), grid, side="right") - 1
            row[at >= 0] = np.asarray(values, np.float64)[at[at >= 0]]
    held[~np.isfinite(held)] = np.nan
    known = np.isfinite(held).any(axis=0)
    grid, held = grid[known], held[:, known]
    low, high = (0.0, 1.0) if band == "range" else (0.25, 0.75)
    return grid, np.nanmedian(held, 0), np.nanquantile(held, low, 0), np.nanquantile(held, high, 0)


def learning_bands(
    curves: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]],
    *,
    metric: str = "accuracy",
    chance: float | None = None,
    band: str = "range",
    legend: str = "",
    title: str = "",
) -> Figure:
    """Validation against training steps: the median over seeds, and their spread, for each variant.

    Args:
      curves: variant -> (steps, values) of each of its runs, see `median_over_seeds`.
      metric: name for the axis; perplexity is drawn on a logarithmic one.
      chance: its level.
      band: "range" (least to greatest) or "quartiles".
      legend: what the variants are, above their names.
      title: above the figure.

    Returns:
      A figure of 6.4 x 3.6 inches.
    """
    figure = new_figure(3.6)
    axes = figure.subplots()
    medians = {
        variant: median_over_seeds(own, band)
        for variant, runs in curves.items()
        if (own := [curve for curve in runs if len(curve[0])])
    }
    last = max((steps[-1] for steps, *_ in medians.values() if len(steps)), default=0.0)
    early = [_draw_band(axes, variant, look, medians[variant], last)
             for variant, look in looks(curves).items() if variant in medians]  # fmt: skip
    if any(early):
        axes.plot([], [], color=COLOURS["grey"], linewidth=1.1, linestyle=":", marker="o", markersize=6,
                  markerfacecolor="white", label="all its seeds\nhave ended")  # fmt: skip
    drawn = [value for _, median, *_ in medians.values() for value in median]
    if metric == "perplexity" and drawn:
        axes.set_yscale("log")
        log_ticks(axes.yaxis, min(drawn), max(drawn))
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("training steps", fontsize=9)
    spread = "range" if band == "range" else "quartiles"
    axes.set_ylabel(f"valid {metric.replace('_', ' ')}\n(median and {spread} over seeds)", fontsize=9)
    values = [value for runs in curves.values() for _, curve in runs for value in curve]
    if chance is not None:
        draw_chance(axes, chance)
    share_axis(axes, values)
    tidy(axes)
    _finish(figure, axes, title, legend, len(curves))
    return figure
