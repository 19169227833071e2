"""How long a unit remembers: its time scale, from its forget gate over a text.

What a unit's cell state holds is multiplied by f at every step, so k steps later the product of k gates is
left of it: exp(-k / T) with T = -1 / mean(log f), in the geometric mean. Mahto et al. 2021 take
T = -1 / log(mean f), which the steps at which the gate stands open weigh on; by Jensen's inequality it is
never less. Both are in steps (tokens).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lstm_jax.analysis.style import COLOURS, headline, log_ticks, new_figure, tidy
from lstm_jax.support.notation import Array

__all__ = [
    "REFERENCE_BIASES",
    "TimeScales",
    "bias_figure",
    "figure",
    "forget_sums",
    "from_bias",
    "time_scales",
]

REFERENCE_BIASES = (0, 1, 2, 3, 5)
"""Forget biases whose time scales are marked in the figure: 1.44, 3.19, 7.88, 20.6 and 149 steps."""


class TimeScales(NamedTuple):
    """Time scales of the units of one layer.

    Attributes:
      product: [H] steps, -1 / mean(log f); inf where the gate never closes.
      mean: [H] steps, -1 / log(mean f) (Mahto 2021).
    """

    product: np.ndarray
    mean: np.ndarray


def forget_sums(f: Array, real: Array) -> dict[str, Array]:
    """Sums over one window, which add up over windows.

    Args:
      f: [T, B, H] forget gate.
      real: [T, B] bool, False where a step is no part of its sequence.

    Returns:
      {"log" [H], the sum of log f; "f" [H], the sum of f; "count", the steps}, float32. A gate that
      underflowed to 0 counts as the least normal number (log -87).
    """
    f = f.astype(jnp.float32)
    logs = jnp.log(jnp.maximum(f, jnp.finfo(jnp.float32).tiny))
    kept = real[..., None]
    return {
        "log": jnp.sum(jnp.where(kept, logs, 0.0), (0, 1)),
        "f": jnp.sum(jnp.where(kept, f, 0.0), (0, 1)),
        "count": jnp.sum(real, dtype=jnp.float32),
    }


def _steps(log_f: np.ndarray) -> np.ndarray:
    """-1 / log_f; inf where log_f is 0 or, with exponential gates, above."""
    with np.errstate(divide="ignore"):
        return np.where(log_f < 0, -1.0 / np.minimum(log_f, 0.0), np.inf)


def time_scales(sums: Mapping[str, np.ndarray]) -> TimeScales:
    """The time scales from sums of `forget_sums`."""
    count = np.asarray(sums["count"], np.float64)
    log_f = np.asarray(sums["log"], np.float64) / count
    with np.errstate(divide="ignore"):
        log_mean = np.log(np.asarray(sums["f"], np.float64) / count)
    return TimeScales(_steps(log_f), _steps(log_mean))


def from_bias(bias: float) -> float:
    """The time scale, in steps, of a forget gate that sees only its bias: -1 / log sigmoid(bias)."""
    return float(1.0 / np.logaddexp(0.0, -bias))


def bias_figure(
    biases: Mapping[str, Any], *, mark: Mapping[str, float] | None = None, title: str = ""
) -> Figure:
    """Forget biases and the time scales that they make, a row a form and a dot a unit.

    Args:
      biases: label -> b_f [H].
      mark: vertical lines among the time scales, steps by label: the lag that a task needs, say.
      title: above the figure.
    """
    drawing = new_figure(0.9 + 0.42 * len(biases))
    headline(drawing, title)
    left, right = drawing.subplots(1, 2, sharey=True)
    for row, drawn in enumerate(biases.values()):
        drawn = np.sort(np.asarray(drawn, np.float64))
        scale = np.array([from_bias(bias) for bias in drawn])
        # Units of the same bias lie above each other: spread over the height of the row.
        height = row + np.linspace(-0.28, 0.28, len(drawn)) if len(drawn) > 1 else np.full(1, row)
        for axes, values in ((left, drawn), (right, scale)):
            axes.plot(values, height, linestyle="none", marker=".", markersize=3.5, color=COLOURS["blue"])
            axes.plot([np.median(values)] * 2, [row - 0.36, row + 0.36], color=COLOURS["vermilion"],
                      linewidth=1.8)  # fmt: skip
    for label, at in (mark or {}).items():
        right.axvline(at, color=COLOURS["grey"], linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        right.annotate(
            label, xy=(at, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
            textcoords="offset points", ha="center", fontsize=8, color=COLOURS["grey"],
        )  # fmt: skip
    left.set_yticks(range(len(biases)), list(biases), fontsize=8)
    left.set_ylim(len(biases) - 0.5, -0.5)
    left.set_xlabel("forget bias at the start", fontsize=9)
    right.set_xlabel("time scale T (steps)", fontsize=9)
    right.set_xscale("log")
    for axes in (left, right):
        tidy(axes)
    log_ticks(right.xaxis, *right.get_xlim())
    return drawing


def figure(layers: Sequence[Mapping[str, TimeScales]], *, unit: str = "steps", title: str = "") -> Figure:
    """The share of each layer's units whose time scale is at most T, T on a logarithmic axis.

    Args:
      layers: one mapping a layer, from the input up: what the parameters are ("at initialisation",
        "trained") -> their time scales. The last is drawn boldest, with Mahto's form beside it, dashed.
      unit: what a step is, for the axis.
      title: above the figure.

    Returns:
      A figure of one panel a layer, two beside each other.
    """
    columns = min(2, len(layers))
    rows = -(-len(layers) // columns)
    drawing = new_figure(0.4 + 2.8 * rows)
    headline(drawing, title)
    panels = drawing.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    finite = [scale[np.isfinite(scale)] for layer in layers for scales in layer.values() for scale in scales]
    drawn = np.concatenate([*finite, [from_bias(0), from_bias(3)]])
    low, high = drawn.min() / 1.3, drawn.max() * 1.3
    for index, axes in enumerate(panels.flat):
        if index >= len(layers):
            axes.set_visible(False)
            continue
        marked = {bias: from_bias(bias) for bias in REFERENCE_BIASES if low <= from_bias(bias) <= high}
        for at in marked.values():
            axes.axvline(at, color=COLOURS["grey"], linewidth=0.7, linestyle=(0, (2, 3)), zorder=1)
        above = axes.twiny()
        above.set_xscale("log")
        above.set_xlim(low, high)
        above.set_xticks(list(marked.values()), [f"{bias}" for bias in marked], fontsize=7)
        above.set_xticks([], minor=True)
        above.tick_params(length=0, pad=1, colors=COLOURS["grey"])
        above.spines[["top", "right"]].set_visible(False)
        if index < columns:
            above.set_xlabel("T of a forget bias alone", fontsize=7, color=COLOURS["grey"])
        kinds = list(layers[index].items())
        for number, (name, scales) in enumerate(kinds):
            last = number == len(kinds) - 1
            colour = COLOURS["blue"] if last else COLOURS["orange"]
            _cumulative(axes, scales.product, colour, 1.8 if last else 1.2, "-", name)
            if last:
                _cumulative(axes, scales.mean, colour, 1.0, (0, (4, 2)), f"{name}, by mean f")
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(0, 1)
        axes.text(0.03, 0.94, f"layer {index + 1}", transform=axes.transAxes, fontsize=9, va="top", zorder=5)
        tidy(axes)
        log_ticks(axes.xaxis, low, high)
        if index % columns == 0:
            axes.set_ylabel("share of units up to T", fontsize=9)
        if index + columns >= len(layers):
            axes.set_xlabel(f"time scale T ({unit})", fontsize=9)
    panels.flat[0].legend(fontsize=8, frameon=True, framealpha=0.9, edgecolor="none", loc="lower right")
    return drawing


def _cumulative(axes: Axes, scale: np.ndarray, colour: str, width: float, dashes: Any, label: str) -> None:
    """Draws the share of units at or below each time scale; infinite ones leave it below 1."""
    ordered = np.sort(scale)
    share = np.arange(1, len(ordered) + 1) / len(ordered)
    finite = np.isfinite(ordered)
    axes.step(
        np.concatenate([ordered[finite][:1], ordered[finite]]), np.concatenate([[0.0], share[finite]]),
        where="post", color=colour, linewidth=width, linestyle=dashes, label=label,
    )  # fmt: skip
