"""How far back the loss can feel its inputs: the norm of its gradient by lag.

G(k) = E_t || d loss_t / d e_{t-k} ||_2, where e_{t-k} is the input k steps back (a token's embedding). It is
divided by G(0) and fitted by an exponential, G ~ exp(-k / tau), as a memory with one time scale has it, and
by a power law, G ~ k^-p, as a mixture of many has it (Tallec & Ollivier 2018; Mahto et al. 2021).
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from lstm_jax.analysis.style import COLOURS, headline, log_ticks, new_figure, tidy
from lstm_jax.support.notation import Array

__all__ = ["ByLag", "Fit", "by_lag", "compared", "figure", "fit", "gradient_norms", "reach"]


class ByLag(NamedTuple):
    """Gradient norms by lag, relative to the mean at lag 0.

    Attributes:
      mean: [K + 1] G(k) / G(0).
      low, high: [K + 1] quartiles over t of the same.
      at_zero: G(0) itself, nats (or the loss's unit) by unit of the input.
      samples: [K + 1] the number of t that reach back so far.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    at_zero: float
    samples: np.ndarray


class Fit(NamedTuple):
    """A line through log G over k or log k, by least squares over lags 1 to K, all of equal weight.

    Which of the two fits better can change with K: compare runs at the same one.

    Attributes:
      kind: "exponential" or "power law".
      parameter: tau in steps, or the exponent p.
      level: the factor before exp(-k / tau), or k^-p.
      r2: share of the variance of log G that the line explains.
    """

    kind: str
    parameter: float
    level: float
    r2: float

    @property
    def symbol(self) -> str:
        """The name of the parameter."""
        return "tau" if self.kind == "exponential" else "p"

    def at(self, lags: np.ndarray) -> np.ndarray:
        """The fitted G / G(0) at `lags`, 1 or more."""
        if self.kind == "exponential":
            return self.level * np.exp(-np.asarray(lags) / self.parameter)
        return self.level * np.asarray(lags, float) ** -self.parameter


def gradient_norms(
    losses: Callable[[Array], Array], inputs: Array, at: Array, real: Array, max_lag: int
) -> Array:
    """|| d loss_t / d x_{t-k} ||_2 for several t of each sequence, by one forward pass.

    The backward passes of all t run side by side, as one batch; none of them is a loop over T in Python.

    Args:
      losses: (x [T, B, E]) -> [M, B], the losses at the steps `at`; row b depends on x[:, b] only.
      inputs: x, [T, B, E] float.
      at: [M, B] int32, the steps t.
      real: [M, B] bool, False where there is no such t; its norms are NaN.
      max_lag: K.

    Returns:
      [K + 1, M, B] float32, NaN where t - k lies before the sequence.
    """
    values, pull = jax.vjp(losses, inputs)
    one_each = jnp.broadcast_to(jnp.eye(at.shape[0])[:, :, None], (at.shape[0], *at.shape))
    (gradients,) = jax.vmap(pull)(one_each.astype(values.dtype))
    norms = jnp.linalg.norm(gradients.astype(jnp.float32), axis=-1)  # [M, T, B]
    back = at[:, None] - jnp.arange(max_lag + 1)[None, :, None]  # [M, K + 1, B]
    found = jnp.take_along_axis(norms, jnp.maximum(back, 0), axis=1)
    found = jnp.where((back >= 0) & real[:, None], found, jnp.nan)
    return jnp.swapaxes(found, 0, 1)


def by_lag(norms: np.ndarray) -> ByLag:
    """Mean and quartiles over t of gradient norms [K + 1, N]; NaN marks what does not exist.

    Lags that no t reaches are left out, so that K can become smaller.
    """
    norms = np.asarray(norms, np.float64)
    samples = np.isfinite(norms).sum(1)
    norms, samples = norms[samples > 0], samples[samples > 0]
    at_zero = float(np.nanmean(norms[0]))
    low, high = np.nanquantile(norms, [0.25, 0.75], axis=1) / at_zero
    return ByLag(np.nanmean(norms, axis=1) / at_zero, low, high, at_zero, samples)


def fit(mean: np.ndarray, kind: str) -> Fit | None:
    """Fits G / G(0) [K + 1] over the lags from 1 where it is positive; None for fewer than three of them.

    Args:
      mean: of `ByLag`.
      kind: "exponential" or "power law".
    """
    lags = np.arange(1, len(mean))
    positive = mean[1:] > 0
    lags, logs = lags[positive], np.log(mean[1:][positive])
    if len(lags) < 3:
        return None
    x = lags.astype(float) if kind == "exponential" else np.log(lags)
    slope, level = np.polyfit(x, logs, 1)
    left = np.sum((logs - level - slope * x) ** 2)
    total = np.sum((logs - logs.mean()) ** 2)
    r2 = 1.0 if total < 1e-12 else float(1.0 - left / total)
    if kind == "exponential":
        with np.errstate(divide="ignore"):
            slope = np.inf if abs(slope) < 1e-12 else -1.0 / slope
        return Fit(kind, float(slope), float(np.exp(level)), r2)
    return Fit(kind, float(-slope), float(np.exp(level)), r2)


def reach(mean: np.ndarray, share: float) -> int | None:
    """The first lag from which on G(k) / G(0) stays below `share`; None where it never does."""
    below = np.asarray(mean) < share
    if not below[-1]:
        return None
    return int(len(below) - np.argmin(below[::-1])) if not below.all() else 0


def figure(
    found: ByLag,
    fits: list[Fit],
    *,
    before: ByLag | None = None,
    unit: str = "steps",
    title: str = "",
) -> Figure:
    """G(k) / G(0) twice: on a linear lag, where an exponential is straight, and on a logarithmic one.

    Args:
      found: of the trained parameters; the shade spans the quartiles over t.
      fits: drawn where they are straight.
      before: the same at initialisation.
      unit: what a step is.
      title: above the figure.
    """
    drawing = new_figure(3.1)
    headline(drawing, title)
    panels = drawing.subplots(1, 2, sharey=True)
    last = len(found.mean) - 1
    for axes, kind in zip(panels, ("exponential", "power law"), strict=True):
        lags = np.arange(kind == "power law", last + 1)
        axes.fill_between(
            lags, found.low[lags], found.high[lags], color=COLOURS["blue"], alpha=0.18, linewidth=0
        )
        if before is not None:
            axes.plot(
                lags[lags < len(before.mean)], before.mean[lags[lags < len(before.mean)]],
                color=COLOURS["orange"], linewidth=1.2, label="at initialisation",
            )  # fmt: skip
        axes.plot(lags, found.mean[lags], color=COLOURS["blue"], linewidth=1.8, label="trained")
        for one in fits:
            if one.kind == kind:
                name = f"{one.symbol} = {one.parameter:.3g}"
                axes.plot(
                    lags[lags > 0], one.at(lags[lags > 0]), color=COLOURS["grey"], linewidth=1.1,
                    linestyle=(0, (4, 2)), label=f"{kind}, {name}, R\u00b2 = {one.r2:.3f}",
                )  # fmt: skip
        axes.set_yscale("log")
        if kind == "power law":
            axes.set_xscale("log")
            log_ticks(axes.xaxis, 1, max(last, 2))
            axes.set_xlim(1, max(last, 2))
        else:
            axes.set_xlim(0, last)
        axes.set_xlabel(f"lag k ({unit})", fontsize=9)
        tidy(axes)
        axes.legend(fontsize=7, framealpha=0.9, edgecolor="none", loc="lower left")
    panels[0].set_ylabel("gradient norm G(k) / G(0)", fontsize=9)
    positive = np.concatenate([found.mean[found.mean > 0], found.low[found.low > 0]])
    low = max(positive.min(), 1e-30)
    # Room for the legend below the curve, and none for what fades to nothing at initialisation.
    panels[0].set_ylim(low * (low**0.35), max(2.0, 1.5 * float(found.high.max())))
    panels[0].yaxis.set_major_locator(LogLocator(base=10, numticks=8))
    panels[0].yaxis.set_minor_formatter(NullFormatter())
    return drawing


def compared(
    curves: Mapping[str, ByLag], *, unit: str = "steps", legend: str = "", title: str = ""
) -> Figure:
    """G(k) / G(0) of several models in one panel, on a logarithmic axis: a straight line is an exponential.

    Args:
      curves: by label.
      unit: what a step is.
      legend: what the curves are, above their labels.
      title: above the figure.
    """
    drawing = new_figure(3.2)
    headline(drawing, title)
    axes = drawing.subplots()
    names = ("blue", "vermilion", "green", "purple", "orange", "sky")
    for number, (label, found) in enumerate(curves.items()):
        axes.plot(
            np.where(found.mean > 0, found.mean, np.nan), color=COLOURS[names[number % len(names)]],
            marker="os^Dv*"[number % 6], markersize=3.5, markevery=max(1, len(found.mean) // 10),
            linewidth=1.6, label=label,
        )  # fmt: skip
    axes.set_yscale("log")
    axes.set_xlabel(f"lag k ({unit})", fontsize=9)
    axes.set_ylabel("gradient norm G(k) / G(0)", fontsize=9)
    low, high = axes.get_ylim()
    if high / low < 1000:  # powers of ten alone would leave one tick or two
        log_ticks(axes.yaxis, low, high)
    else:
        axes.yaxis.set_major_locator(LogLocator(base=10, numticks=8))
        axes.yaxis.set_minor_formatter(NullFormatter())
    tidy(axes)
    drawing.legend(
        *axes.get_legend_handles_labels(), title=legend or None, title_fontsize=8, fontsize=8, frameon=False,
        loc="outside right center",
    )  # fmt: skip
    return drawing
