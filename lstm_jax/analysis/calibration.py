"""Whether a network is as sure as it is right: reliability, and the expected calibration error."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lstm_jax.analysis.style import COLOURS, headline, new_figure, tidy
from lstm_jax.support.errors import UserError

__all__ = ["Calibration", "calibration", "figure"]


class Calibration(NamedTuple):
    """Answers by how sure they were, in K bins of equal width over (0, 1].

    Attributes:
      edges: [K + 1] of the bins; a confidence on an edge is in the bin below.
      answers: [K] how many, in each bin.
      confidence: [K] mean probability of the answer that was given; NaN in an empty bin.
      accuracy: [K] share of right answers; NaN in an empty bin.
      ece: expected calibration error, sum over bins of answers / N |accuracy - confidence| (Guo et al. 2017,
        equation 3).
      mean_confidence, mean_accuracy: over all answers.
      brier: mean over answers of the sum over classes of (probability - 1 where it is true)^2 (Brier 1950).
    """

    edges: np.ndarray
    answers: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    ece: float
    mean_confidence: float
    mean_accuracy: float
    brier: float


def calibration(probabilities: np.ndarray, true: np.ndarray, bins: int = 15) -> Calibration:
    """How sure and how right the likeliest classes are.

    Args:
      probabilities: [N, O], rows that add up to 1.
      true: [N] classes.
      bins: K.

    Raises:
      UserError: nothing to measure, or no bin.
    """
    probabilities, true = np.asarray(probabilities, np.float64), np.asarray(true)
    if not len(true) or len(true) != len(probabilities):
        raise UserError(f"{len(probabilities)} predictions of {len(true)} answers: as many, at least one")
    if bins < 1:
        raise UserError(f"bins={bins}: 1 or more")
    sure, right = probabilities.max(1), probabilities.argmax(1) == true
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 of an empty bin is the NaN that is meant
        confidence = np.bincount(place, sure, bins) / count
        accuracy = np.bincount(place, right, bins) / count
    gap = np.where(count > 0, np.abs(accuracy - confidence), 0.0)
    hit = np.arange(probabilities.shape[1]) == true[:, None]
    return Calibration(
        edges,
        count,
        confidence,
        accuracy,
        float((count / len(true) * gap).sum()),
        float(sure.mean()),
        float(right.mean()),
        float(np.square(probabilities - hit).sum(1).mean()),
    )


def figure(found: Calibration, *, title: str = "") -> Figure:
    """Accuracy by confidence, beside the diagonal of perfect calibration; below, how many answers."""
    drawn = new_figure(4.6, 4.8)
    axes, below = drawn.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    width = np.diff(found.edges)
    there = found.answers > 0
    low = np.minimum(found.accuracy, found.confidence)[there]
    gap = np.abs(found.accuracy - found.confidence)[there]
    left, wide = found.edges[:-1][there], width[there]
    axes.bar(left, found.accuracy[there], wide, align="edge", color=COLOURS["blue"], edgecolor="white",
             linewidth=0.6, label="right")  # fmt: skip
    axes.bar(left, gap, wide, bottom=low, align="edge", facecolor="none", edgecolor=COLOURS["vermilion"],
             hatch="////", linewidth=0.6, label="gap to the confidence")  # fmt: skip
    axes.plot(
        [0, 1], [0, 1], color=COLOURS["grey"], linewidth=1, linestyle=(0, (4, 3)), label="as sure as right"
    )
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_ylabel("share right", fontsize=9)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, fontsize=8, frameon=False,
                columnspacing=1.2, handlelength=1.6)  # fmt: skip
    share = found.answers / found.answers.sum()
    below.bar(found.edges[:-1], share, width, align="edge", color=COLOURS["grey"], edgecolor="white",
              linewidth=0.6)  # fmt: skip
    below.set_ylabel("of answers", fontsize=9)
    below.set_xlabel("probability of the answer that was given", fontsize=9)
    for each in (axes, below):
        tidy(each)
    headline(drawn, title)
    return drawn
