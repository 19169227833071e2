"""Solved or not, and how soon: a map over variants and lengths, and the steps that it took."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from lstm_jax.analysis.style import COLOURS, new_figure, tidy
from lstm_jax.analysis.variants import looks

__all__ = ["solved_map", "steps_to_solve"]

_COLOURS = ["#FFFFFF", "#9CC7E4", COLOURS["blue"]]
_FROM_WHITE = LinearSegmentedColormap.from_list("white to blue", _COLOURS).with_extremes(bad="#EEEEEE")


def _order(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[Any]]:
    """Variants in the order in which they come, lengths in rising order; [None] where there are none."""
    lengths = sorted({row["length"] for row in rows if row.get("length") is not None})
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
    """The share of seeds that solved the task, by variant (rows) and length (columns), k/n in each cell.

    Args:
      rows: {"variant": text, "length": number or None, "solved": bool}, one a run.
      length_label: of the columns.
      legend: of the rows: what the variants are.
      title: above the figure.
    """
    variants, lengths = _order(rows)
    share = np.full((len(variants), len(lengths)), np.nan)
    figure = new_figure(1.1 + 0.36 * len(variants), min(6.4, 2.6 + 0.62 * len(lengths)))
    axes = figure.subplots()
    for y, variant in enumerate(variants):
        for x, length in enumerate(lengths):
            cell = _cell(rows, variant, length)
            if not cell:
                continue
            solved = sum(bool(row["solved"]) for row in cell)
            share[y, x] = solved / len(cell)
            axes.text(
                x, y, f"{solved}/{len(cell)}", ha="center", va="center", fontsize=8,
                color="white" if share[y, x] > 0.75 else "black",
            )  # fmt: skip
    image = axes.imshow(share, cmap=_FROM_WHITE, vmin=0, vmax=1, aspect="auto")
    axes.set_yticks(range(len(variants)), variants, fontsize=8)
    axes.set_ylabel(legend, fontsize=9)
    if lengths == [None]:
        axes.set_xticks([])
    else:
        axes.set_xticks(range(len(lengths)), [f"{length:g}" for length in lengths], fontsize=8)
        axes.set_xlabel(length_label, fontsize=9)
    axes.set_xticks(np.arange(len(lengths) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(variants) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#BBBBBB", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.06, ticks=[0, 0.5, 1])
    bar.set_label("share of seeds solved", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


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
    axes.set_yscale("log")
    axes.set_ylim(low / 1.6, top * 1.5)
    axes.axhline(budget * 1.35, color=COLOURS["grey"], linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    low_power, high_power = int(np.floor(np.log10(low))), int(np.ceil(np.log10(budget)))
    decades = [lead * 10.0**power for power in range(low_power, high_power + 1) for lead in (1, 2, 5)]
    ticks = [tick for tick in decades if low / 1.6 <= tick <= budget]
    axes.set_yticks([*ticks, top], [*(f"{tick:,.0f}" for tick in ticks), "not solved"])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("training steps until solved\n(seeds and median)", fontsize=9)
    axes.set_xlim(-0.6, len(columns) - 0.4)
    names = [f"{column:g}" for column in columns] if by_length else columns
    axes.set_xticks(range(len(columns)), names, fontsize=8)
    axes.set_xlabel(length_label if by_length else legend, fontsize=9)
    tidy(axes)
    axes.grid(visible=False, axis="x")
    if title:
        figure.suptitle(title, fontsize=10)
    if by_length:
        figure.legend(
            title=legend or None, title_fontsize=8, fontsize=8, frameon=False, loc="outside right center"
        )
    return figure
