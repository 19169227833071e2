"""The metric against each field of a sweep, the other fields pooled."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lstm_jax.analysis.parallel_coordinates import jitter, scale_of
from lstm_jax.analysis.style import COLOURS, WIDTH, headline, new_figure, tidy
from lstm_jax.analysis.variants import draw_chance, share_axis

__all__ = ["Panel", "marginals"]

ACROSS = 3
ROOM, NARROW = 40, 27
"""Characters of ticks that stand side by side between the ends of a panel; of one of three in a row."""


class Panel(NamedTuple):
    """One field.

    Attributes:
      label: its name.
      settings: its value in each run.
      values: the metric of each run; what is not finite is left out.
      means: its value -> (mean, low, high); NaN bounds draw no bar.
      note: stands below its name.
    """

    label: str
    settings: Sequence[Any]
    values: Sequence[float]
    means: Mapping[Any, tuple[float, float, float]]
    note: str = ""


def marginals(
    panels: Sequence[Panel], *, metric: str = "accuracy", chance: float | None = None, title: str = ""
) -> Any:
    """A panel a field: a dot a run, and the mean of each value with its interval.

    Args:
      panels: what is drawn.
      metric: name for the axis.
      chance: its level, where it is one.
      title: above the figure.

    Returns:
      A figure 6.4 inches wide; numbers that span a factor of 20 stand on a logarithmic axis.
    """
    down = math.ceil(len(panels) / ACROSS)
    across = min(ACROSS, len(panels))
    figure = new_figure(0.5 + 2.4 * down, WIDTH if across > 1 else 3.6)
    grid = figure.subplots(down, across, squeeze=False, sharey=True)
    everything: list[float] = [v for panel in panels for v in panel.values if math.isfinite(v)]
    for axes, panel in zip(grid.flat, panels, strict=False):
        scale = scale_of(list(panel.settings))
        places = dict(zip(panel.settings, scale.at, strict=True))
        wide = 0.5 / max(1, len(places))
        kept = [(x, v) for x, v in zip(scale.at, panel.values, strict=True) if math.isfinite(v)]
        axes.plot(
            [x + wide * jitter(index) for index, (x, _) in enumerate(kept)], [v for _, v in kept],
            linestyle="none", marker=".", markersize=4, color=COLOURS["sky"], alpha=0.6, zorder=2,
        )  # fmt: skip
        _draw_means(axes, places, panel.means)
        tidy(axes)
        turned = _collide(scale.ticks, NARROW if across == ACROSS else ROOM)
        axes.set_xticks(
            [place for place, _ in scale.ticks], [text for _, text in scale.ticks],
            rotation=40 if turned else 0, ha="right" if turned else "center", rotation_mode="anchor",
        )  # fmt: skip
        axes.set_xlim(-0.5 * max(0.16, wide) - 0.05, 1.05 + 0.5 * max(0.16, wide))
        name = panel.label.replace("_", " ")
        axes.set_xlabel(f"{name}\n({panel.note})" if panel.note else name, fontsize=9)
        share_axis(axes, everything)
        if chance is not None:
            draw_chance(axes, chance, everything)
    for row in grid:
        row[0].set_ylabel(f"test {metric.replace('_', ' ')}\n(runs; mean, 95 % interval)", fontsize=9)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    headline(figure, title)
    return figure


def _collide(ticks: Sequence[tuple[float, str]], room: int) -> bool:
    """Whether neighbours among the ticks would touch, each standing below its place."""
    pairs = itertools.pairwise(ticks)
    return any((len(a) + len(b)) / 2 + 1 > room * (after - place) for (place, a), (after, b) in pairs)


def _draw_means(
    axes: Any, places: Mapping[Any, float], means: Mapping[Any, tuple[float, float, float]]
) -> None:
    for value, (mean, low, high) in means.items():
        if not math.isfinite(mean):
            continue
        if math.isfinite(low):
            axes.plot([places[value]] * 2, [low, high], color=COLOURS["vermilion"], linewidth=1.6, zorder=3)
        axes.plot(
            [places[value]], [mean], marker="D", markersize=5, color=COLOURS["vermilion"],
            markeredgecolor="white", linestyle="none", zorder=4,
        )  # fmt: skip
