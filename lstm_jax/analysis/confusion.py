"""Which class is taken for which: the confusion matrix, and what is derived from it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lstm_jax.analysis.style import headline, new_figure, shown_label
from lstm_jax.support.errors import UserError

__all__ = ["Quality", "confusion", "figure", "quality"]

WRITTEN = 16
"""Classes up to which the counts are written into the cells."""


class Quality(NamedTuple):
    """How good the answers of a confusion matrix are; a ratio without a count is 0.

    Attributes:
      accuracy: share that is right.
      precision: [O] the share of the predictions of a class that are right.
      recall: [O] the share of a class that is predicted as such.
      f1: [O] their harmonic mean, 2 hits / (true + predicted).
      macro_f1: the plain mean of `f1`.
    """

    accuracy: float
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    macro_f1: float


def confusion(true: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """[O, O] int64, how often class i (row) was predicted as class j (column); both [N] from 0 to O - 1.

    Raises:
      UserError: nothing to count, or a class that is none.
    """
    true, said = np.asarray(true), np.asarray(said)
    if not true.size or true.shape != said.shape:
        raise UserError(f"{true.size} answers and {said.size} predictions: as many of both, at least one")
    if min(true.min(), said.min()) < 0 or max(true.max(), said.max()) >= classes:
        raise UserError(f"a class is not one of the {classes}, which are numbered from 0")
    return np.bincount(true.astype(np.int64) * classes + said, minlength=classes**2).reshape(classes, classes)


def quality(matrix: np.ndarray) -> Quality:
    """What a confusion matrix [O, O] amounts to."""
    hits, true, said = np.diag(matrix), matrix.sum(1), matrix.sum(0)

    def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.where(whole > 0, part / np.maximum(whole, 1), 0.0)

    f1 = ratio(2 * hits, true + said)
    return Quality(
        float(hits.sum() / matrix.sum()), ratio(hits, said), ratio(hits, true), f1, float(f1.mean())
    )


def figure(matrix: np.ndarray, labels: Sequence[str], *, title: str = "") -> Figure:
    """The matrix [O, O] as a map: shade by share of the row (the true class), counts in the cells."""
    classes = len(labels)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = float(np.clip(1.6 + 0.36 * classes, 3.2, 8.0))
    drawn = new_figure(side, side + 0.9)
    axes = drawn.add_subplot()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    names = [shown_label(label) for label in labels]
    step = max(1, classes // 60)  # names of very many classes would lie on each other
    many = classes > WRITTEN
    axes.set_xticks(range(0, classes, step), names[::step], ha="center" if many else "right",
                    rotation=90 if many else 45, rotation_mode="default" if many else "anchor")  # fmt: skip
    axes.set_yticks(range(0, classes, step), names[::step])
    axes.tick_params(labelsize=6 if many else 8, length=0)
    axes.set_xlabel("predicted", fontsize=9)
    axes.set_ylabel("true", fontsize=9)
    axes.spines[:].set_visible(False)
    if classes <= WRITTEN:
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                shade = "white" if share[row, column] > 0.5 else "black"
                axes.text(column, row, f"{count}", ha="center", va="center", fontsize=7, color=shade)
    bar = drawn.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("share of the true class", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    headline(drawn, title)
    return drawn
