"""The learning curve of a run, from the rows of its metrics.jsonl."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from lstm_jax.analysis.style import new_figure

__all__ = ["learning_curve"]

# Okabe and Ito's colours, told apart by the colour-blind; the lines differ in weight and marker too, so
# that a print in grey can be read.
_TRAIN, _VALID, _LEVEL, _RATE = "#E69F00", "#0072B2", "#555555", "#009E73"


def _series(rows: Iterable[Mapping[str, Any]], kind: str, name: str) -> tuple[list[float], list[float]]:
    """Epochs and finite values of `name` in rows of `kind`; a row without an epoch counts by its step."""
    xs, ys = [], []
    for row in rows:
        value = row.get(name)
        if row.get("kind") == kind and isinstance(value, int | float) and math.isfinite(value):
            xs.append(float(row.get("epoch", row["step"])))
            ys.append(float(value))
    return xs, ys


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def learning_curve(
    rows: Iterable[Mapping[str, Any]],
    *,
    metric: str = "perplexity",
    levels: Mapping[str, float] | None = None,
    title: str = "",
    best: str = "min",
) -> Figure:
    """Training and validation by epoch, with the learning rate underneath.

    Rows are `{"step", "epoch", "kind": "train", metric, "learning_rate", ...}` and `{"step", "epoch",
    "kind": "valid", metric, ...}`; what is missing or not finite is left out. The figure belongs to no
    window and to no pyplot state: `figure.savefig(path)` works without a display, in any thread.

    Args:
      rows: as `metrics.read_metrics` gives them, in any order.
      metric: drawn; its axis is logarithmic where it is "perplexity", else linear.
      levels: value by label of lines to compare with: chance, a baseline, a published figure.
      title: above the figure.
      best: "min" or "max": which validation value is marked as the best; "" marks none.

    Returns:
      A figure of 6.4 x 4.8 inches; without any row of the metric it states that.
    """
    rows = sorted(rows, key=lambda row: row["step"])
    unit = "epoch" if any("epoch" in row for row in rows) else "step"
    train, valid = _series(rows, "train", metric), _series(rows, "valid", metric)
    rate = _series(rows, "train", "learning_rate")

    figure = new_figure(4.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
    if title:
        figure.suptitle(title, fontsize=11)

    if train[0]:
        upper.plot(*train, color=_TRAIN, linewidth=1.2, label="training")
    if valid[0]:
        upper.plot(*valid, color=_VALID, linewidth=1.8, marker="o", markersize=3.5, label="validation")
    drawn = train[1] + valid[1]
    if not drawn:
        upper.text(0.5, 0.5, f"no {metric} yet", transform=upper.transAxes, ha="center", va="center")
        upper.set_yticks([])

    if metric == "perplexity" and drawn:
        upper.set_yscale("log")
        # Powers of ten alone would leave a curve from 80 to 200 with one tick or none.
        upper.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
        upper.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        upper.yaxis.set_minor_formatter(NullFormatter())

    for label, value in (levels or {}).items():
        upper.axhline(value, color=_LEVEL, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        # At the right end: the curves come down, or up, to meet a level there last of all.
        upper.annotate(
            f"{label} {_short(value)}",
            xy=(1, value), xycoords=("axes fraction", "data"),
            xytext=(-3, 2), textcoords="offset points",
            ha="right", va="bottom", fontsize=8, color=_LEVEL,
        )  # fmt: skip

    if valid[0] and best:
        pick = min if best == "min" else max
        at = pick(range(len(valid[1])), key=valid[1].__getitem__)
        x, y = valid[0][at], valid[1][at]
        upper.plot([x], [y], marker="*", markersize=13, color=_VALID, markeredgecolor="white",
                   linestyle="none", zorder=5, label=f"best: {_short(y)} at {unit} {x:g}")  # fmt: skip

    upper.set_ylabel(metric.replace("_", " "))
    upper.grid(which="major", color="#DDDDDD", linewidth=0.6)
    if upper.get_legend_handles_labels()[0]:
        # Above the axes, in a row: inside there is no corner that curve and levels both leave free.
        upper.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=9, frameon=False)

    if rate[0]:
        lower.step(*rate, where="post", color=_RATE, linewidth=1.4)
        if min(rate[1]) > 0 and max(rate[1]) / min(rate[1]) > 20:
            lower.set_yscale("log")
        else:
            lower.set_ylim(0, max(rate[1]) * 1.15 or 1)
            lower.set_yticks(sorted({0.0, max(rate[1])}))
        lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        lower.yaxis.set_minor_formatter(NullFormatter())
    lower.set_ylabel("learning\nrate")
    lower.set_xlabel(unit)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    lower.grid(which="major", color="#DDDDDD", linewidth=0.6)
    for axes in (upper, lower):
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.align_ylabels()
    return figure
