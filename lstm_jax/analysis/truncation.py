"""What truncated back-propagation through time leaves of a gradient (Williams & Peng 1990).

The forward pass is the same: the carry goes from window to window. The backward pass stops at each border, so
that what happened before it moves the weights no more. `gradients` gives both, `agreement` compares them.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from lstm_jax.analysis import lags
from lstm_jax.analysis.style import COLOURS, headline, new_figure, tidy
from lstm_jax.models import Model
from lstm_jax.notation import Array, Params
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
    carry, found = model.carry(params, inputs.shape[1]), []
    borders = [*range(steps - window, 0, -window)][::-1]
    for begin, end in itertools.pairwise([0, *borders, steps]):
        outputs = model.apply(params, inputs[begin:end], jax.lax.stop_gradient(carry))
        carry = outputs.carry
        found.append(outputs.hidden)
    return jnp.concatenate(found)


def gradients(model: Model, params: Params, task: Task, batch: Batch, window: int = 0) -> Params:
    """The gradient of the mean loss over the scored steps, truncated to windows; 0: the whole one.

    Args:
      model, params: dropout is off.
      task: gives the loss.
      batch: sequences of full length, without resets.
      window: see `states`.
    """

    def loss(params: Params) -> Array:
        values = task.loss(model.head(params, states(model, params, batch.inputs, window)), batch)
        weights = jnp.ones_like(values) if batch.weights is None else batch.weights
        return jnp.sum(values * weights) / jnp.sum(weights)

    return jax.jit(jax.grad(loss))(params)


def agreement(model: Model, params: Params, task: Task, batch: Batch, windows: Sequence[int]) -> Agreement:
    """Angle and length of the gradient at each window, against that through the whole sequence."""
    whole = _flat(gradients(model, params, task, batch))
    cosine, ratio = [], []
    for window in sorted(windows):
        part = _flat(gradients(model, params, task, batch, window))
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

    def losses(inputs: Array) -> Array:
        hidden = states(model, params, inputs, window)[last, np.arange(rows)]
        answers = batch._replace(targets=targets[None], weights=None)
        return task.loss(model.head(params, hidden[None]), answers)

    at, real = jnp.asarray(last)[None], jnp.asarray(scored.any(0))[None]
    norms = jax.jit(lambda x: lags.gradient_norms(losses, x, at, real, min(max_lag, steps - 1)))(inputs)
    return lags.by_lag(np.asarray(norms).reshape(norms.shape[0], -1))


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
