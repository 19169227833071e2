"""How much context a language model uses: its loss when the state is cut to the last n tokens.

Khandelwal, He, Qi & Jurafsky 2018, "Sharp Nearby, Fuzzy Far Away: How Neural Language Models Use Context",
section 4: the same targets for every n, each predicted from the n tokens before it, read from the initial
state. The effective context is the n from which on the perplexity is within 1 % of that with the whole text.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from lstm_jax.analysis.losses import Progress, cut_nats, mean_and_error, round_stride, shifted, token_nats
from lstm_jax.analysis.style import COLOURS, headline, log_ticks, new_figure, tidy
from lstm_jax.models import Model
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Params

__all__ = [
    "LENGTHS",
    "PUBLISHED",
    "Context",
    "Curve",
    "context_losses",
    "curve",
    "effective",
    "figure",
    "target_positions",
]

LENGTHS = (5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)
"""Contexts in tokens: round numbers, so that targets at a round stride share their runs."""
PUBLISHED = {"AWD-LSTM (Khandelwal 2018)": ((13, 25.0), (150, 1.0), (200, 1.0))}
"""Tokens, and per cent of perplexity above that of unlimited context: the effective context is 150 tokens on
Penn Treebank and about 200 over both corpora of the paper; that 13 tokens cost 25 % is at second hand."""


class Context(NamedTuple):
    """Losses of the same M targets under K contexts.

    Attributes:
      lengths: [K] n, tokens of context, rising.
      positions: [M] index of each target in the text.
      nats: [K, M] float32, the state cut to the last n tokens.
      full: [M] float32, the whole text before the target.
    """

    lengths: np.ndarray
    positions: np.ndarray
    nats: np.ndarray
    full: np.ndarray


class Curve(NamedTuple):
    """What the losses come to, all in nats.

    Attributes:
      lengths: [K] tokens.
      mean, error: [K] mean loss and the standard error of that mean.
      full, full_error: the same with the whole text before each target.
      excess, excess_error: [K] mean of each target's loss minus its own loss with the whole text, and the
        standard error of that mean, which is much smaller: the targets' own difficulty is not in it.
      targets: M.
    """

    lengths: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    full: float
    full_error: float
    excess: np.ndarray
    excess_error: np.ndarray
    targets: int


def target_positions(count: int, lengths: Sequence[int], targets: int | None, seed: int = 0) -> np.ndarray:
    """Targets at an even stride from an offset that the seed draws, each with every context before it.

    Args:
      count: N, tokens of the text.
      lengths: of the contexts, tokens.
      targets: how many at least, where there are so many; the stride is the largest of 1, 2, 5, 10, 20, ...
        that leaves them, as runs are then shared most (see `losses.cut_nats`). None: every token.
      seed: of the offset.

    Raises:
      UserError: no token has the longest context before it, or `targets` is not positive.
    """
    least = max(lengths) - 1
    if count <= least:
        raise UserError(
            f"a text of {count} tokens has none with {max(lengths)} tokens before it: use shorter contexts"
        )
    if targets is not None and targets < 1:
        raise UserError(f"targets={targets} must be 1 or more")
    stride = 1 if targets is None else round_stride(max(1.0, (count - least) / targets))
    offset = int(np.random.default_rng(seed).integers(min(stride, count - least)))
    return np.arange(least + offset, count, stride)


def context_losses(
    model: Model,
    params: Params,
    tokens: Any,
    first: int,
    *,
    lengths: Sequence[int] = LENGTHS,
    targets: int | None = 4000,
    seed: int = 0,
    rows: int = 128,
    progress: Progress = lambda *_: None,
) -> Context:
    """The losses of the same targets for every length of context; dropout is off.

    Costs about max(lengths) steps a target where the targets' stride divides most of the lengths, and up to
    the sum of the lengths where it does not.

    Args:
      model, params: a language model.
      tokens: [N] the text.
      first: the input before tokens[0].
      lengths: contexts in tokens, in any order.
      targets: how many targets at least, None: all, see `target_positions`.
      seed: of the targets' offset.
      rows: runs side by side; bounds the memory.
      progress: called with (tenths of steps done, in all): the whole text counts for one tenth.

    Raises:
      UserError: a length that is not positive, or as `target_positions`.
    """
    lengths = sorted({int(n) for n in lengths})
    if not lengths or lengths[0] < 1:
        raise UserError(f"contexts must be of 1 token or more, not {lengths}")
    inputs = shifted(tokens, first)
    tokens = np.asarray(tokens, np.int32)
    positions = target_positions(len(tokens), lengths, targets, seed)

    def of_whole(done: int, total: int) -> None:
        progress(done, 10 * total)

    def of_cut(done: int, total: int) -> None:
        progress(total + 9 * done, 10 * total)

    full = token_nats(model, params, tokens, first, progress=of_whole)[positions]
    grid = np.repeat(lengths, len(positions))
    ends = np.tile(positions, len(lengths))
    nats = cut_nats(model, params, inputs, ends - grid + 1, grid, tokens[ends], rows=rows, progress=of_cut)
    return Context(np.asarray(lengths), positions, nats.reshape(len(lengths), -1), full)


def curve(context: Context) -> Curve:
    """Means and their standard errors; errors take the targets as independent draws."""
    mean, error = mean_and_error(context.nats)
    full, full_error = mean_and_error(context.full)
    excess, excess_error = mean_and_error(np.asarray(context.nats, np.float64) - context.full)
    return Curve(
        context.lengths, mean, error, float(full), float(full_error), excess, excess_error,
        len(context.positions),
    )  # fmt: skip


def effective(lengths: Any, excess: Any, share: float = 0.01) -> float:
    """The context from which on the perplexity exceeds that of the whole text by at most `share`.

    Interpolated in log n between the lengths that were measured.

    Args:
      lengths: [K] tokens, rising.
      excess: [K] nats above the loss with the whole text.
      share: 0.01 is 1 %.

    Returns:
      Tokens; the shortest length where that is enough, inf where the longest is not.
    """
    lengths, excess = np.asarray(lengths, np.float64), np.asarray(excess, np.float64)
    bound = math.log1p(share)
    above = np.flatnonzero(~(excess <= bound))
    if not above.size:
        return float(lengths[0])
    last = int(above[-1])
    if last == len(lengths) - 1:
        return math.inf
    part = (excess[last] - bound) / (excess[last] - excess[last + 1])
    return float(np.exp(np.log(lengths[last]) + part * np.log(lengths[last + 1] / lengths[last])))


def _per_cent(nats: np.ndarray) -> np.ndarray:
    return 100 * np.expm1(nats)


def figure(
    curves: Mapping[str, Curve],
    *,
    unit: str = "tokens",
    title: str = "",
    published: Mapping[str, Sequence[tuple[float, float]]] = PUBLISHED,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Perplexity against context, and below, in per cent above that of the whole text, with 1 % drawn.

    Args:
      curves: by label, for the legend; bars are two standard errors of the difference from the whole text.
      unit: of the context.
      title: above the figure.
      published: points (context, per cent) to draw beside, by label.
      marks: vertical lines, context by label: the window of training, say.
    """
    drawing = new_figure(5.6)
    headline(drawing, title)
    upper, lower = drawing.subplots(2, 1, sharex=True, height_ratios=[1, 1.25])
    colours = [COLOURS[name] for name in ("blue", "vermilion", "green", "purple", "orange", "sky")]
    floor = 0.1
    for number, (label, found) in enumerate(curves.items()):
        colour = colours[number % len(colours)]
        style = dict(color=colour, linewidth=1.6, marker="o", markersize=3.5, capsize=2, elinewidth=1)
        level = math.exp(found.full)
        upper.axhline(
            level, color=colour, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1,
            label=f"whole text: {level:.1f} ± {2 * level * found.full_error:.1f}",
        )  # fmt: skip
        perplexity = np.exp(found.mean)
        upper.errorbar(found.lengths, perplexity, 2 * perplexity * found.excess_error, **style)
        # A logarithmic axis has no place for what is not above the whole text's: it lies below the floor.
        low, middle, high = (
            np.maximum(_per_cent(found.excess + times * found.excess_error), 1e-9) for times in (-2, 0, 2)
        )
        floor = min([floor, *middle[middle > 0.01] / 2])
        lower.errorbar(found.lengths, middle, [middle - low, high - middle], label=label, **style)
        bounds = [effective(found.lengths, found.excess + times * found.excess_error) for times in (-2, 0, 2)]
        if math.isfinite(bounds[1]):
            lower.plot(
                [bounds[1]], [1], marker="*", markersize=13, color=colour, markeredgecolor="white",
                linestyle="none", zorder=5,
                label=f"within 1 % from {bounds[1]:.0f} ({bounds[0]:.0f} to {bounds[2]:.0f}) {unit} on",
            )  # fmt: skip
    for number, (label, points) in enumerate(published.items()):
        x, y = np.asarray(points, np.float64).T
        lower.plot(x, y, color=COLOURS["grey"], linestyle=(0, (1, 2)), linewidth=1, marker="Ds^v"[number % 4],
                   markersize=5, markerfacecolor="white", label=label, zorder=4)  # fmt: skip
    for label, at in (marks or {}).items():
        for axes in (upper, lower):
            axes.axvline(at, color=COLOURS["grey"], linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
        upper.annotate(
            f"{label} {at:g}", xy=(at, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
            textcoords="offset points", ha="center", va="bottom", fontsize=8, color=COLOURS["grey"],
        )  # fmt: skip
    lower.axhline(1, color=COLOURS["grey"], linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    lower.annotate(
        "1 %", xy=(0, 1), xycoords=("axes fraction", "data"), xytext=(3, 2), textcoords="offset points",
        fontsize=8, color=COLOURS["grey"],
    )  # fmt: skip
    upper.set_xscale("log")
    upper.set_yscale("log")
    lower.set_yscale("log")
    lower.set_ylim(bottom=floor)
    log_ticks(upper.yaxis, 1, 100)
    # A curve from 100 to 170 would have one tick of 1, 2, 5.
    upper.yaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0)))
    log_ticks(lower.yaxis, 1, 100)
    drawn = [found.lengths for found in curves.values()] + [np.array(p)[:, 0] for p in published.values()]
    lengths = sorted({int(n) for ns in drawn for n in ns})
    lower.xaxis.set_major_locator(FixedLocator([n for n in lengths if f"{n}"[0] in "125"]))
    lower.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    lower.xaxis.set_minor_locator(NullLocator())
    upper.set_ylabel("perplexity", fontsize=9)
    lower.set_ylabel("perplexity above that\nof the whole text (%)", fontsize=9)
    lower.set_xlabel(f"context that the model is given ({unit})", fontsize=9)
    for axes in (upper, lower):
        tidy(axes)
    upper.legend(fontsize=8, frameon=True, framealpha=0.9, edgecolor="none", loc="upper right")
    lower.legend(fontsize=8, frameon=True, framealpha=0.9, edgecolor="none", loc="upper right")
    drawing.align_ylabels()
    return drawing
