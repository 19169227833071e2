"""The metric against each field of a sweep, the other fields pooled."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from lstm_jax.analysis.parallel_coordinates import jitter, scale_of
from lstm_jax.analysis.style import COLOURS, WIDTH, headline, new_figure, show_data, tidy
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
    panels: Sequence[Panel],
    *,
    metric: str = "accuracy",
    what: str = "",
    chance: float | None = None,
    title: str = "",
) -> Figure:
    """Returns a panel a field: a dot a run and, beside the dots, the mean of each value with its interval.

    Args:
      panels: what is drawn.
      metric: name for the axis.
      what: the whole label of the axis; "" says test metric, runs, mean and interval.
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
        finite = [(x, v) for x, v in zip(scale.at, panel.values, strict=True) if math.isfinite(v)]
        # Dots to the left of a value's place, its mean to the right: neither hides the other.
        left = 0.22 * wide if panel.means else 0.0
        spread = 0.5 * wide if panel.means else wide
        at = [x - left + spread * jitter(index) for index, (x, _) in enumerate(finite)]
        axes.plot(
            at, [v for _, v in finite],
            linestyle="none", marker=".", markersize=4, color=COLOURS["blue"], alpha=0.55, zorder=2,
            gid="runs",
        )  # fmt: skip
        _draw_means(axes, {value: place + 0.3 * wide for value, place in places.items()}, panel.means)
        tidy(axes)
        room, ticks = NARROW if across == ACROSS else ROOM, scale.ticks
        numbers = all(isinstance(value, int | float) for value in panel.settings)
        while numbers and not panel.means and len(ticks) > 3 and _collide(ticks, room):
            ticks = ticks[::2]
        turned = _collide(ticks, room)
        axes.set_xticks(
            [place for place, _ in ticks], [text for _, text in ticks],
            rotation=40 if turned else 0, ha="right" if turned else "center", rotation_mode="anchor",
        )  # fmt: skip
        axes.set_xlim(-0.5 * max(0.16, wide) - 0.05, 1.05 + 0.5 * max(0.16, wide))
        name = panel.label.replace("_", " ")
        axes.set_xlabel(f"{name}\n({panel.note})" if panel.note else name, fontsize=9)
        share_axis(axes, everything)
        if chance is not None:
            draw_chance(axes, chance, named=axes is grid.flat[min(across, len(panels)) - 1])
    label = what or f"test {metric.replace('_', ' ')}\n(runs; mean, 95 % interval)"
    for row in grid:
        row[0].set_ylabel(label, fontsize=9)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    headline(figure, title)
    show_data(figure, _rows(panels))
    return figure


def _rows(panels: Sequence[Panel]) -> Iterator[dict[str, Any]]:
    for panel in panels:
        for setting, value in zip(panel.settings, panel.values, strict=True):
            yield {"field": panel.label, "setting": setting, "kind": "run", "value": value}
        for setting, (mean, low, high) in panel.means.items():
            yield {
                "field": panel.label, "setting": setting, "kind": "mean",
                "value": mean, "low": low, "high": high,
            }  # fmt: skip


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
            axes.plot(
                [places[value]] * 2, [low, high], color=COLOURS["vermilion"], linewidth=1.6, zorder=3,
                marker="_", markersize=8, markeredgewidth=1.4, gid="interval",
            )  # fmt: skip
        axes.plot(
            [places[value]], [mean], marker="D", markersize=3.2, color=COLOURS["vermilion"],
            linestyle="none", zorder=4, gid="mean",
        )  # fmt: skip
