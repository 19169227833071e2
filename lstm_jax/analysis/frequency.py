"""Which tokens cost a language model most: its loss by frequency in training, and by position in the line."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from lstm_jax.analysis.style import COLOURS, headline, new_figure, tidy
from lstm_jax.support.errors import UserError

__all__ = ["FREQUENCIES", "POSITIONS", "Bins", "bins", "by_frequency", "by_position", "figure", "positions"]

FREQUENCIES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)
"""Lower edges of the bins of occurrences in training, even on a logarithmic axis; below the first lies 0."""
POSITIONS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100, 200, 500)
"""Lower edges of the bins of positions; 1 is the first token of a line."""


class Bins(NamedTuple):
    """Losses by bin; bins without a token are left out.

    Attributes:
      lower: [K] the least value that falls into the bin, and `upper`: [K] the greatest, both as asked for by
        the edges; the last bin is open, its `upper` is the greatest value that occurred.
      tokens: [K] how many; they add up to N.
      total: [K] nats, their sum in float64; they add up to the loss of the text.
      mean, error: [K] nats a token, and the standard error of that mean (NaN of one token).
      level: [K] mean nats of whatever it is compared with, NaN where there is nothing.
    """

    lower: np.ndarray
    upper: np.ndarray
    tokens: np.ndarray
    total: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    level: np.ndarray


def bins(nats: Any, values: Any, edges: Sequence[int], level: Any = None) -> Bins:
    """The losses of tokens by bins of a whole number that each of them has.

    Args:
      nats: [N] losses.
      values: [N] whole numbers.
      edges: rising lower edges; what lies below the first has a bin of its own.
      level: [N] losses of something to compare with.

    Raises:
      UserError: arrays of different lengths, none at all, or edges that do not rise.
    """
    nats, values = np.asarray(nats, np.float64), np.asarray(values, np.int64)
    compared = np.full(nats.shape, np.nan) if level is None else np.asarray(level, np.float64)
    if not nats.size or not nats.shape == values.shape == compared.shape == (nats.size,):
        raise UserError(
            f"losses {list(nats.shape)} and what they are binned by {list(values.shape)} do not fit"
        )
    limits = np.asarray(edges, np.int64)
    if not limits.size or (np.diff(limits) <= 0).any():
        raise UserError(f"the edges of bins must rise, not {list(edges)}")
    index = np.searchsorted(limits, values, side="right")
    lower = np.concatenate([[min(values.min(), limits[0] - 1)], limits])
    upper = np.concatenate([limits - 1, [max(values.max(), limits[-1])]])
    size = len(lower)
    count = np.bincount(index, minlength=size)
    kept = count > 0
    total = np.bincount(index, nats, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        squares = np.bincount(index, (nats - mean[index]) ** 2, size)
        error = np.where(count > 1, np.sqrt(squares / (count - 1) / count), np.nan)
        compared = np.bincount(index, compared, size) / count
    return Bins(*(array[kept] for array in (lower, upper, count, total, mean, error, compared)))


def by_frequency(nats: Any, targets: Any, counts: Any, edges: Sequence[int] = FREQUENCIES) -> Bins:
    """Losses by how often the token occurs in training.

    Beside them, as `level`, those of the unigram model of these counts (nothing for what never occurs): what
    the tokens cost a predictor without a context.

    Args:
      nats: [N] losses of the tokens.
      targets: [N] the tokens.
      counts: [V] occurrences of each token in training.
      edges: of the bins, as in `bins`.

    Raises:
      UserError: as `bins`, or a token beyond V.
    """
    targets, counts = np.asarray(targets), np.asarray(counts, np.int64)
    if targets.size and (targets.min() < 0 or targets.max() >= len(counts)):
        raise UserError(f"token {targets.max()} is none of the {len(counts)} tokens that were counted")
    seen = counts[targets]
    unigram = np.log(counts.sum() / np.where(seen, seen, np.nan))
    return bins(nats, seen, edges, unigram)


def positions(targets: Any, end: int) -> np.ndarray:
    """The place of each token in its line, [N], from 1 on; the end of a line is its last token.

    Args:
      targets: [N] tokens of a text that begins with a line.
      end: the end-of-line token.
    """
    targets = np.asarray(targets)
    index = np.arange(len(targets))
    begins = np.concatenate([[True], targets[:-1] == end])
    return index - np.maximum.accumulate(np.where(begins, index, 0)) + 1


def by_position(nats: Any, targets: Any, end: int, edges: Sequence[int] = POSITIONS) -> Bins:
    """Losses by the token's position in its line; arguments as for `positions` and `bins`.

    Raises:
      UserError: as `bins`.
    """
    return bins(nats, positions(targets, end), edges)


def _name(lower: int, upper: int) -> str:
    def short(value: int) -> str:
        return f"{value // 1000}k" if value >= 1000 and value % 1000 == 0 else f"{value}"

    if upper <= lower:
        return short(lower)
    # "1k-3k" for 1,000 to 2,999: the edge is what one remembers.
    return f"{short(lower)}-{short(upper + 1) if lower >= 1000 else upper}"


def figure(panels: Mapping[str, Bins], *, mean: float, unit: str = "token", title: str = "") -> Figure:
    """Mean loss by bin, with the mean of all tokens as a line; below it the share of tokens in each bin.

    Args:
      panels: by the name of what was binned, one panel each.
      mean: nats, over all tokens.
      unit: of the loss's denominator.
      title: above the figure.
    """
    drawing = new_figure(0.4 + 3.1 * len(panels))
    headline(drawing, title)
    all_axes = drawing.subplots(2 * len(panels), 1, height_ratios=[3, 1] * len(panels), squeeze=False)[:, 0]
    for (name, found), upper, lower in zip(panels.items(), all_axes[::2], all_axes[1::2], strict=True):
        x = np.arange(len(found.tokens))
        upper.axhline(mean, color=COLOURS["grey"], linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        upper.annotate(
            f"all {unit}s: {mean:.2f}", xy=(0, mean), xycoords=("axes fraction", "data"), xytext=(3, -3),
            textcoords="offset points", va="top", fontsize=8, color=COLOURS["grey"],
        )  # fmt: skip
        if np.isfinite(found.level).any():
            upper.plot(x, found.level, color=COLOURS["orange"], linewidth=1.4, linestyle=(0, (4, 2)),
                       marker="^", markersize=4, label="unigram model (no context)")  # fmt: skip
        upper.errorbar(x, found.mean, 2 * found.error, color=COLOURS["blue"], linewidth=1.6, marker="o",
                       markersize=4, capsize=2, label="model")  # fmt: skip
        share = 100 * found.tokens / found.tokens.sum()
        lower.bar(x, share, width=0.8, color=COLOURS["sky"])
        for at, count in zip(x, found.tokens, strict=True):
            lower.annotate(
                f"{count:,}", xy=(at, share[at]), xytext=(0, 1), textcoords="offset points", ha="center",
                fontsize=6.5, color=COLOURS["grey"],
            )  # fmt: skip
        upper.set_ylabel(f"loss (nats a {unit})", fontsize=9)
        lower.set_ylabel("share (%)", fontsize=9)
        lower.set_ylim(0, 1.25 * share.max())
        names = [_name(int(a), int(b)) for a, b in zip(found.lower, found.upper, strict=True)]
        for axes in (upper, lower):
            axes.set_xticks(x, names if axes is lower else [""] * len(x), fontsize=8)
            axes.set_xlim(-0.6, len(x) - 0.4)
            tidy(axes)
        drawn = np.concatenate([found.mean, found.level[np.isfinite(found.level)]])
        if drawn.min() < 0.5 * drawn.max():
            upper.set_ylim(bottom=0)
        lower.set_xlabel(name, fontsize=9)
        if np.isfinite(found.level).any():
            upper.legend(fontsize=8, frameon=True, framealpha=0.9, edgecolor="none", loc="upper right")
    drawing.align_ylabels()
    return drawing
