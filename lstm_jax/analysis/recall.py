"""Recall curves: how well trained models do a memory task, against the length of time to be bridged."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lstm_jax.analysis.style import COLOURS, headline, new_figure, tidy
from lstm_jax.analysis.variants import length_axis
from lstm_jax.support.errors import UserError

__all__ = ["Recall", "figure", "recall"]

Evaluations = Mapping[int, Sequence[Mapping[str, float]]]
"""length -> the figures of each seed: metric -> value, as an evaluation of the task at that length gives."""


class Recall(NamedTuple):
    """One metric of S seeds at K lengths.

    Attributes:
      lengths: [K] steps, rising.
      values: [K, S]; NaN where a seed was not evaluated.
      middle: [K] median over the seeds.
      low, high: [K] least and greatest.
      chance: [K] what a predictor without memory reaches.
    """

    lengths: np.ndarray
    values: np.ndarray
    middle: np.ndarray
    low: np.ndarray
    high: np.ndarray
    chance: np.ndarray


def recall(evaluations: Evaluations, metric: str, chance: float | Mapping[int, float]) -> Recall:
    """Median and range over seeds at each length.

    Args:
      evaluations: the figures.
      metric: which of them.
      chance: its chance level, or one for each length.

    Raises:
      UserError: no figures, a length without one, or without that metric or its chance.
    """
    lengths = sorted(evaluations)
    if not lengths or not all(len(evaluations[length]) for length in lengths):
        raise UserError("a recall curve needs one evaluation or more at each length")
    lacking = [n for n in lengths if any(metric not in figures for figures in evaluations[n])]
    if lacking:
        offered = sorted(evaluations[lacking[0]][0])
        raise UserError(f"no metric {metric!r} at length {lacking[0]}: allowed: {', '.join(offered)}")
    if isinstance(chance, Mapping):
        missing = [length for length in lengths if length not in chance]
        if missing:
            raise UserError(f"no chance level for length {missing[0]}")
        levels = np.array([chance[length] for length in lengths], np.float64)
    else:
        levels = np.full(len(lengths), chance, np.float64)
    most = max(len(evaluations[length]) for length in lengths)
    values = np.full((len(lengths), most), np.nan)
    for row, length in zip(values, lengths, strict=True):
        row[: len(evaluations[length])] = [figures[metric] for figures in evaluations[length]]
    return Recall(
        np.asarray(lengths),
        values,
        np.nanmedian(values, axis=1),
        np.nanmin(values, axis=1),
        np.nanmax(values, axis=1),
        levels,
    )


def figure(
    curves: Mapping[str, Recall],
    *,
    metric: str = "accuracy",
    unit: str = "",
    length: str = "length (steps)",
    trained: float | None = None,
    bound: float | Mapping[int, float] | None = None,
    title: str = "",
) -> Figure:
    """Median over seeds with its range as a band, a dot a seed, and the chance level.

    Args:
      curves: by label, for the legend.
      metric: the axis's name.
      unit: of the metric; "" has none.
      length: what the lengths are, for the axis.
      trained: the length of training, marked.
      bound: of the criterion by which the task counts as solved, marked; one for all lengths or one for each.
      title: above the figure.
    """
    drawing = new_figure(3.7 + 0.15 * len(curves))
    headline(drawing, title)
    axes = drawing.subplots()
    names = ("blue", "vermilion", "green", "purple", "orange", "sky")
    lengths: set[int] = set()
    drawn: set[tuple] = set()
    for found in curves.values():  # where the levels of two curves are the same, it is one line
        key = (tuple(found.lengths), tuple(found.chance))
        if key not in drawn:
            axes.plot(found.lengths, found.chance, color=COLOURS["grey"], linewidth=1, linestyle=(0, (4, 3)),
                      zorder=1, label=None if drawn else "chance")  # fmt: skip
            drawn.add(key)
    for number, (label, found) in enumerate(curves.items()):
        colour, marker = COLOURS[names[number % len(names)]], "os^Dv*"[number % 6]
        several = found.values.shape[1] > 1
        if several:
            axes.fill_between(found.lengths, found.low, found.high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(np.repeat(found.lengths, found.values.shape[1]), found.values.ravel(), color=colour,
                      linestyle="none", marker=".", markersize=3, alpha=0.7)  # fmt: skip
        seeds = f" ({found.values.shape[1]} seeds: median, range)" if several else ""
        axes.plot(found.lengths, found.middle, color=colour, linewidth=1.7, marker=marker, markersize=4.5,
                  label=f"{label}{seeds}")  # fmt: skip
        lengths.update(int(n) for n in found.lengths)
    if bound is not None:
        _mark_solved(axes, bound)
    if trained is not None:
        axes.axvline(trained, color=COLOURS["grey"], linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
        axes.annotate(
            f"trained at {trained:g}", xy=(trained, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
            textcoords="offset points", ha="center", fontsize=8, color=COLOURS["grey"],
        )  # fmt: skip
    length_axis(axes, sorted(lengths), length)
    if metric == "accuracy":
        axes.set_ylim(-0.02, 1.04)
    axes.set_ylabel(f"{metric.replace('_', ' ')}{f' ({unit})' if unit else ''}", fontsize=9)
    tidy(axes)
    # Below the axes: curves that fall at different lengths leave no corner free.
    drawing.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return drawing


def _mark_solved(axes: Axes, bound: float | Mapping[int, float]) -> None:
    """A named level from side to side, or a line through those of the lengths where they differ."""
    levels = sorted(bound.items()) if isinstance(bound, Mapping) else [(0, bound)]
    look: dict[str, Any] = dict(color=COLOURS["grey"], linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    if len({level for _, level in levels}) > 1:
        axes.plot(*zip(*levels, strict=True), label="solved", **look)
        return
    level = levels[0][1]
    axes.axhline(level, **look)
    axes.annotate(
        f"solved: {level:g}", xy=(1, level), xycoords=("axes fraction", "data"), xytext=(-3, -3),
        textcoords="offset points", ha="right", va="top", fontsize=8, color=COLOURS["grey"],
    )  # fmt: skip
