"""What truncated back-propagation through time leaves of a gradient (Williams & Peng 1990).

The forward pass is the same: the carry goes from window to window. The backward pass stops at each border, so
that what happened before it moves the weights no more. `gradients` gives both, `agreement` compares them.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from lstm_jax.analysis import lags
from lstm_jax.analysis.style import COLOURS, headline, new_figure, tidy
from lstm_jax.models import Model
from lstm_jax.support.notation import Array, Params
from lstm_jax.tasks.base import Batch, Task

__all__ = ["Agreement", "agreement", "by_lag", "figure", "gradients", "states"]


class Agreement(NamedTuple):
    """Gradients of truncated windows beside the whole one.

    Attributes:
      windows: [K] steps of a window, rising.
      cosine: [K] of the angle between the two gradients, all parameters as one vector; 1 is the same
        direction. NaN where a gradient is 0.
      ratio: [K] norm of the truncated one by that of the whole one.
    """

    windows: np.ndarray
    cosine: np.ndarray
    ratio: np.ndarray


def states(model: Model, params: Params, inputs: Array, window: int = 0) -> Array:
    """The last layer's outputs [T, B, H] over a whole sequence, with a backward pass that ends at borders.

    Args:
      model, params: dropout is off.
      inputs: [T, B] tokens, or [T, B, D].
      window: steps between two borders, counted from the END, where the answers are; 0: no border.
    """
    steps = inputs.shape[0]
    window = min(window or steps, steps)

    def read(carry: tuple, inputs: Array) -> tuple[tuple, Array]:
        outputs = model.apply(params, inputs, jax.lax.stop_gradient(carry))
        return outputs.carry, outputs.hidden

    carry, found, first = model.carry(params, inputs.shape[1]), [], steps % window
    if first:
        carry, hidden = read(carry, inputs[:first])
        found.append(hidden)
    # One program for all windows of a length: written out, short windows would take long to compile.
    _, hidden = jax.lax.scan(read, carry, inputs[first:].reshape(-1, window, *inputs.shape[1:]))
    return jnp.concatenate([*found, hidden.reshape(-1, *hidden.shape[2:])])


def gradients(model: Model, params: Params, task: Task, batch: Batch, window: int = 0) -> Params:
    """The gradient of the mean loss over the scored steps, truncated to windows; 0: the whole one.

    Args:
      model, params: dropout is off.
      task: gives the loss.
      batch: sequences of full length, without resets.
      window: see `states`.
    """
    return _gradient(model, task.loss, window)(params, batch)


@functools.lru_cache(maxsize=32)
def _gradient(model: Model, task_loss: Callable[..., Array], window: int) -> Callable[..., Params]:
    """Compiled once for all parameters."""

    def loss(params: Params, batch: Batch) -> Array:
        values = task_loss(model.head(params, states(model, params, batch.inputs, window)), batch)
        weights = jnp.ones_like(values) if batch.weights is None else batch.weights
        return jnp.sum(values * weights) / jnp.sum(weights)

    return jax.jit(jax.grad(loss))


def agreement(model: Model, params: Params, task: Task, batch: Batch, windows: Sequence[int]) -> Agreement:
    """Angle and length of the gradient at each window, against that through the whole sequence."""
    whole = _flat(gradients(model, params, task, batch))
    cosine, ratio = [], []
    for window in sorted(windows):
        shorter = window < batch.inputs.shape[0]
        part = _flat(gradients(model, params, task, batch, window)) if shorter else whole
        lengths = float(np.linalg.norm(part)), float(np.linalg.norm(whole))
        cosine.append(float(part @ whole) / (lengths[0] * lengths[1]) if min(lengths) else np.nan)
        ratio.append(lengths[0] / lengths[1] if lengths[1] else np.nan)
    return Agreement(np.array(sorted(windows)), np.array(cosine), np.array(ratio))


def _flat(tree: Params) -> np.ndarray:
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])


def by_lag(
    model: Model, params: Params, task: Task, batch: Batch, *, max_lag: int, window: int = 0
) -> lags.ByLag:
    """Gradient norms by lag of the loss at each sequence's last scored step; see `lags`.

    Args:
      model: reads tokens or features.
      params: dropout is off.
      task: gives the loss.
      batch: as in `gradients`.
      max_lag: K, steps back.
      window: see `states`.
    """
    tokens = jnp.issubdtype(batch.inputs.dtype, jnp.integer)
    inputs = params["embedding"][batch.inputs] if tokens else batch.inputs
    steps, rows = inputs.shape[:2]
    scored = np.ones((steps, rows), bool) if batch.weights is None else np.asarray(batch.weights) > 0
    last = steps - 1 - np.argmax(scored[::-1], axis=0)
    targets = batch.targets[last, np.arange(rows)]

    real = np.any(scored, axis=0, keepdims=True)
    norms = _norms(model, task.loss, window, min(max_lag, steps - 1))(
        params, inputs, last, batch._replace(targets=targets[None], weights=None), real
    )
    return lags.by_lag(np.asarray(norms).reshape(norms.shape[0], -1))


@functools.lru_cache(maxsize=32)
def _norms(model: Model, task_loss: Callable[..., Array], window: int, longest: int) -> Callable[..., Array]:
    """(params, inputs, last [B], the answers, real [1, B]) -> `lags.gradient_norms`; compiled once."""

    @jax.jit
    def norms(params: Params, inputs: Array, last: Array, answers: Batch, real: Array) -> Array:
        def losses(inputs: Array) -> Array:
            hidden = states(model, params, inputs, window)[last, jnp.arange(inputs.shape[1])]
            return task_loss(model.head(params, hidden[None]), answers)

        return lags.gradient_norms(losses, inputs, last[None], real, longest)

    return norms


def figure(
    curves: Mapping[str, Agreement], *, mark: Mapping[str, float] | None = None, title: str = ""
) -> Figure:
    """Cosine, and ratio of the norms, against the window.

    Args:
      curves: by label.
      mark: vertical lines, window by label: the lag that the task needs, say.
      title: above the figure.
    """
    drawing = new_figure(3.2)
    headline(drawing, title)
    panels = drawing.subplots(1, 2, sharex=True)
    names = ("blue", "vermilion", "green", "purple", "orange", "sky")
    for number, (label, found) in enumerate(curves.items()):
        for axes, values in zip(panels, (found.cosine, found.ratio), strict=True):
            axes.plot(
                found.windows, values, color=COLOURS[names[number % len(names)]], linewidth=1.6, label=label,
                marker="os^Dv*"[number % 6], markersize=4.5,
            )  # fmt: skip
    ticks = sorted({int(n) for found in curves.values() for n in found.windows})
    for axes, what in zip(
        panels, ("cosine to the whole gradient", "norm / norm of the whole one"), strict=True
    ):
        for label, at in (mark or {}).items():
            axes.axvline(at, color=COLOURS["grey"], linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
            axes.annotate(
                label, xy=(at, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
                textcoords="offset points", ha="center", fontsize=8, color=COLOURS["grey"],
            )  # fmt: skip
        axes.axhline(1, color=COLOURS["grey"], linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        axes.set_xscale("log")
        axes.set_xticks(ticks)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("window of back-propagation (steps)", fontsize=9)
        axes.set_ylabel(what, fontsize=9)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        tidy(axes)
    drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8,
                   frameon=False)  # fmt: skip
    return drawing
