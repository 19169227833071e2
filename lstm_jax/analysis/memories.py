"""What lies in a network's memory while it reads: matrices that are written, and attention over past states.

A fast-weight matrix is attention without softmax: A after step t is eta sum_k lambda^(t-k) h_k h_k^T, so that
A q = sum_k eta lambda^(t-k) (h_k . q) h_k, a sum of past states, each weighed by its age and by what it has
in common with the query q (Ba et al. 2016, equation 3; Schmidhuber 1992; Schlag et al. 2021).
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from lstm_jax.analysis.style import headline, new_figure
from lstm_jax.cells.base import Carry
from lstm_jax.models import Model
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params

__all__ = ["attention_figure", "by_position", "carries", "matrices_figure", "recall_weights"]


def carries(model: Model, params: Params, inputs: Array, *, layer: int = 0) -> Carry:
    """The carry of one layer after every step.

    Args:
      model, params: dropout is off.
      inputs: [T, B] tokens, or [T, B, D].
      layer: from the input up.

    Returns:
      The layer's carry with an axis of time in front: leaves [T, B, ...].
    """

    @jax.jit
    def step(params: Params, inputs: Array, carry: tuple) -> tuple:
        return model.apply(params, inputs, carry).carry

    carry, found = model.carry(params, inputs.shape[1]), []
    for t in range(inputs.shape[0]):
        carry = step(params, inputs[t : t + 1], carry)
        found.append(carry[layer])
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)


def recall_weights(states: Any, *, decay: float, eta: float) -> np.ndarray:
    """With which weight the fast weights recall each past state when they are asked with the present one.

    Args:
      states: h, [T, H], of a cell `fast_weights`.
      decay, eta: of that cell.

    Returns:
      w [T, T], such that A h_t = sum_k w[t, k] h_k with A as it is before step t; 0 from k = t on.
    """
    h = np.asarray(states, np.float64)
    age = np.arange(len(h))[:, None] - np.arange(len(h))[None] - 1
    return np.where(age >= 0, eta * decay ** np.maximum(age, 0) * (h @ h.T), 0.0)


def by_position(weights: Any) -> np.ndarray:
    """Attention by lag as attention by position.

    Args:
      weights: [T, M], of the trace `attention`: column k is the state of k + 1 steps ago.

    Returns:
      [T, T]: row t, column s is what step t gives to the state of step s; 0 where that was not kept.
    """
    weights = np.asarray(weights)
    steps, slots = weights.shape
    found = np.zeros((steps, steps), weights.dtype)
    for t in range(steps):
        most = min(t, slots)
        found[t, t - most : t] = weights[t, :most][::-1]
    return found


def matrices_figure(
    matrices: Any, labels: Sequence[str], *, columns: int = 6, what: str = "weight", title: str = ""
) -> Figure:
    """A matrix after each of several steps, all in one colour scale.

    Args:
      matrices: [K, H, H], from unit (rows) to unit (columns).
      labels: [K] above each.
      columns: matrices beside each other.
      what: an entry is, for the scale.
      title: above the figure.

    Raises:
      UserError: as many labels as there are not matrices.
    """
    matrices = np.asarray(matrices)
    if len(labels) != len(matrices):
        raise UserError(f"{len(matrices)} matrices need as many labels, not {len(labels)}")
    columns = min(columns, len(matrices))
    rows = -(-len(matrices) // columns)
    drawing = new_figure(0.75 + 1.3 * rows)
    headline(drawing, title)
    panels = drawing.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    most = max(float(np.quantile(np.abs(matrices), 0.995)), 1e-6)  # a few units would leave the rest pale
    for index, axes in enumerate(panels.flat):
        if index >= len(matrices):
            axes.set_visible(False)
            continue
        axes.imshow(matrices[index], cmap="coolwarm", vmin=-most, vmax=most, interpolation="nearest")
        axes.set_title(labels[index], fontsize=8, pad=3)
        axes.set_xticks([])
        axes.set_yticks([])
    panels[-1, 0].set_xlabel("to unit", fontsize=8)
    panels[0, 0].set_ylabel("from unit", fontsize=8)
    bar = drawing.colorbar(panels[0, 0].images[0], ax=panels, pad=0.01, fraction=0.04, aspect=18)
    bar.ax.tick_params(labelsize=7)
    bar.set_label(what, fontsize=8)
    return drawing


def attention_figure(
    weights: Any, labels: Sequence[str], *, what: str = "attention weight", title: str = ""
) -> Figure:
    """To which past steps each step turns: a heat map, time down and the past along.

    Args:
      weights: [T, T], as of `by_position` or `recall_weights`.
      labels: [T] the input of each step.
      what: an entry is, for the scale.
      title: above the figure.

    Raises:
      UserError: as many labels as there are not steps.
    """
    weights = np.asarray(weights)
    if weights.shape != (len(labels), len(labels)):
        raise UserError(f"weights {list(weights.shape)} need as many labels, not {len(labels)}")
    drawing = new_figure(3.9, 4.8)
    headline(drawing, title)
    axes = drawing.subplots()
    signed = weights.min() < 0
    most = max(float(np.abs(weights).max()), 1e-6)
    unwritten = np.triu(np.ones(weights.shape, bool))
    image = axes.imshow(
        np.ma.masked_array(weights, unwritten), cmap="coolwarm" if signed else "viridis",
        vmin=-most if signed else 0.0, vmax=most, interpolation="nearest",
    )  # fmt: skip
    axes.set_facecolor("#EEEEEE")
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlabel("step that is remembered (its input)", fontsize=9)
    axes.set_ylabel("step that asks (its input)", fontsize=9)
    bar = drawing.colorbar(image, ax=axes, pad=0.02, fraction=0.05)
    bar.ax.tick_params(labelsize=7)
    bar.set_label(what, fontsize=8)
    return drawing
