"""Solved or not, and how soon: a map over variants and lengths, and the steps that it took."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from lstm_jax.analysis.style import COLOURS, WIDTH, headline, new_figure, show_data, tidy
from lstm_jax.analysis.variants import Look, looks

__all__ = ["solved_map", "steps_to_solve"]

_STEPS = ("variant", "length", "seed", "solved", "solved_step", "steps")
_COLOURS = ["#FFFFFF", "#9CC7E4", COLOURS["blue"]]
_FROM_WHITE = LinearSegmentedColormap.from_list("white to blue", _COLOURS).with_extremes(bad="#EEEEEE")


def _order(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[Any]]:
    """Variants as they come; lengths rising, or as they come where they are names; [None] where none are."""
    lengths = list(dict.fromkeys(row["length"] for row in rows if row.get("length") is not None))
    if all(isinstance(length, int | float) for length in lengths):
        lengths.sort()
    return list(dict.fromkeys(row["variant"] for row in rows)), lengths or [None]


def _cell(rows: Sequence[Mapping[str, Any]], variant: str, length: Any) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["variant"] == variant and row.get("length") == length]


def solved_map(
    rows: Sequence[Mapping[str, Any]],
    *,
    length_label: str = "length (steps)",
    legend: str = "variant",
    title: str = "",
) -> Figure:
    """Returns the share of seeds that solved the task, a map by variant (rows) and length (columns).

    Where there is only one column, it is a bar for each variant instead.

    Args:
      rows: {"variant": text, "length": number, text or None, "solved": bool}, one a run. A second field of
        the sweep may stand in the place of the length, as text.
      length_label: of the columns.
      legend: of the rows: what the variants are.
      title: above the figure.
    """
    variants, lengths = _order(rows)
    counts = np.zeros((len(variants), len(lengths), 2), int)
    for row in rows:
        cell = counts[variants.index(row["variant"]), lengths.index(row.get("length"))]
        cell += [bool(row["solved"]), 1]
    if len(lengths) == 1:
        figure = _solved_bars(variants, counts[:, 0], lengths[0], length_label, legend, title)
    else:
        figure = _solved_cells(variants, lengths, counts, length_label, legend, title)
    show_data(
        figure,
        [
            {
                "variant": variant,
                "length": length,
                "solved": int(counts[y, x, 0]),
                "runs": int(counts[y, x, 1]),
            }
            for y, variant in enumerate(variants)
            for x, length in enumerate(lengths)
        ],
    )
    return figure


def _solved_cells(
    variants: Sequence[str], lengths: Sequence[Any], counts: np.ndarray, across: str, down: str, title: str
) -> Figure:
    share = np.where(counts[..., 1] > 0, counts[..., 0] / np.maximum(counts[..., 1], 1), np.nan)
    figure = new_figure(1.1 + 0.36 * len(variants), min(WIDTH, 2.6 + 0.62 * len(lengths)))
    axes = figure.subplots()
    image = axes.imshow(share, cmap=_FROM_WHITE, vmin=0, vmax=1, aspect="auto", gid="share of seeds solved")
    for y, x in np.argwhere(counts[..., 1] > 0):
        axes.text(
            x, y, f"{counts[y, x, 0]}/{counts[y, x, 1]}", ha="center", va="center", fontsize=8,
            color="white" if share[y, x] > 0.75 else "black",
        )  # fmt: skip
    axes.set_yticks(range(len(variants)), variants, fontsize=8)
    axes.set_ylabel(down, fontsize=9)
    names = [value.replace("_", " ") if isinstance(value, str) else f"{value:g}" for value in lengths]
    axes.set_xticks(range(len(lengths)), names, fontsize=8)
    axes.set_xlabel(across, fontsize=9)
    axes.set_xticks(np.arange(len(lengths) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(variants) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#BBBBBB", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.06, ticks=[0, 0.5, 1])
    bar.set_label("share of seeds solved", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    headline(figure, title)
    return figure


def _solved_bars(
    variants: Sequence[str], counts: np.ndarray, length: Any, across: str, down: str, title: str
) -> Figure:
    figure = new_figure(1.1 + 0.3 * len(variants), 4.8)
    axes = figure.subplots()
    places = np.arange(len(variants))
    axes.barh(places, counts[:, 0] / np.maximum(counts[:, 1], 1), height=0.62, color=COLOURS["blue"])
    for place, (solved, total) in zip(places, counts, strict=True):
        axes.annotate(
            f"{solved}/{total}", xy=(solved / total, place), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=8,
        )  # fmt: skip
    axes.set_yticks(places, variants, fontsize=8)
    axes.set_ylabel(down, fontsize=9)
    axes.set_ylim(len(variants) - 0.4, -0.6)
    axes.set_xlim(0, 1.12)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    at = "" if length is None else f", {across} {length}"
    axes.set_xlabel(f"share of seeds solved{at}", fontsize=9)
    tidy(axes)
    axes.grid(visible=False, axis="y")
    headline(figure, title)
    return figure


def _draw_seeds(
    axes: Axes, cell: Sequence[Mapping[str, Any]], look: Look, middle: float, width: float, top: float
) -> None:
    """Draws the seeds of one column of `steps_to_solve`, unsolved ones at `top`, and their median."""
    inner = np.linspace(-0.3, 0.3, len(cell)) * width if len(cell) > 1 else np.zeros(1)
    solved = [bool(row["solved"] and row["solved_step"]) for row in cell]
    heights = [row["solved_step"] if yes else top for row, yes in zip(cell, solved, strict=True)]
    for at, height, yes in zip(middle + inner, heights, solved, strict=True):
        axes.plot(
            [at], [height], marker=look.marker, markersize=4.5, linestyle="none",
            markerfacecolor=look.colour if yes else "none", markeredgecolor=look.colour,
            zorder=3, alpha=0.85,
        )  # fmt: skip
    median = float(np.median([h if yes else np.inf for h, yes in zip(heights, solved, strict=True)]))
    if np.isfinite(median):
        axes.plot(
            [middle - 0.42 * width, middle + 0.42 * width], [median, median], color=look.colour,
            linewidth=2.0, zorder=2, solid_capstyle="butt",
        )  # fmt: skip


def _step_ticks(low: float, high: float) -> list[float]:
    """Returns ticks of a logarithmic axis: 1, 2, 5, 10, or closer where these would be fewer than four."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks: list[float] = []
    for leads in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)):
        ticks = [lead * 10.0**power for power in powers for lead in leads]
        ticks = [tick for tick in ticks if low <= tick <= high and tick == int(tick)]
        if len(ticks) >= 4:
            break
    return ticks


def steps_to_solve(
    rows: Sequence[Mapping[str, Any]],
    *,
    length_label: str = "length (steps)",
    legend: str = "",
    title: str = "",
) -> Figure:
    """The training steps until the task was solved, a mark a seed, a bar at the median; unsolved ones on top.

    Args:
      rows: {"variant": text, "length": number or None, "solved": bool, "solved_step": int or None, "steps":
        int}, one a run; steps are those that it trained for. The columns are the lengths, or where there is
        one alone, the variants.
      length_label: of the columns.
      legend: what the variants are, above their names.
      title: above the figure.

    Returns:
      A figure of 6.4 x 3.6 inches. The median counts unsolved runs as never: where they are half or more,
      there is no bar.
    """
    variants, lengths = _order(rows)
    by_length = len(lengths) > 1
    columns: list[Any] = list(lengths) if by_length else list(variants)
    figure = new_figure(3.6)
    axes = figure.subplots()
    styles = looks(variants)
    taken = [row["solved_step"] for row in rows if row["solved"] and row["solved_step"]]
    low = min(taken, default=1)
    budget = max([row.get("steps") or 1 for row in rows] + taken, default=1)
    top = budget * 2.0
    width = 0.8 / len(variants) if by_length else 0.5
    for index, variant in enumerate(variants):
        look = styles[variant]
        axes.plot(
            [], [], color=look.colour, marker=look.marker, markersize=4.5, linestyle="none", label=variant
        )  # the legend's: filled, whatever the first seed did
        for column, value in enumerate(columns):
            if not by_length and value != variant:
                continue
            cell = _cell(rows, variant, value if by_length else lengths[0])
            if not cell:
                continue
            middle = column + (index - (len(variants) - 1) / 2) * width if by_length else column
            _draw_seeds(axes, cell, look, middle, width, top)
    axes.set_yscale("log")
    axes.set_ylim(low / 1.6, top * 1.5)
    axes.axhline(budget * 1.35, color=COLOURS["grey"], linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    ticks = _step_ticks(low / 1.6, budget)
    axes.set_yticks([*ticks, top], [*(f"{tick:,.0f}" for tick in ticks), "not solved"])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("training steps until solved\n(seeds and median)", fontsize=9)
    axes.set_xlim(-0.6, len(columns) - 0.4)
    names = [f"{column:g}" for column in columns] if by_length else columns
    axes.set_xticks(range(len(columns)), names, fontsize=8)
    axes.set_xlabel(length_label if by_length else legend, fontsize=9)
    tidy(axes)
    axes.grid(visible=False, axis="x")
    headline(figure, title)
    show_data(figure, [{name: row.get(name) for name in _STEPS} for row in rows])
    if by_length:
        figure.legend(
            title=legend or None, title_fontsize=8, fontsize=8, frameon=False, loc="outside right center"
        )
    return figure
