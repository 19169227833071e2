"""What of the far context a language model uses: its loss when far words are shuffled, replaced or dropped.

Khandelwal, He, Qi & Jurafsky 2018, sections 5.1 and 5.2: every target is predicted from the 300 tokens before
it, read from the initial state; the nearest n stay as they are, and of those beyond them

    local     the 20 at distances n+1 to n+20 are put in random order,
    global    all are put in random order,
    replaced  each becomes a token drawn from the text: order and identity are lost, the number is not,
    dropped   none is read: the context is cut to n.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lstm_jax.analysis.context import target_positions
from lstm_jax.analysis.losses import Progress, cut_nats, mean_and_error, shifted
from lstm_jax.analysis.style import COLOURS, headline, new_figure, tidy
from lstm_jax.models import Model
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Params
from lstm_jax.support.registry import check_name

__all__ = [
    "DISTANCES",
    "KINDS",
    "PUBLISHED",
    "Perturbation",
    "figure",
    "increase",
    "perturb",
    "perturb_losses",
]

KINDS = ("local", "global", "replaced", "dropped")
DISTANCES = (5, 10, 20, 30, 50, 100, 200)
"""n: tokens nearest to the target that stay as they are."""
PUBLISHED = {"local order": 20, "global order": 50}
"""Distance beyond which it does not matter to an AWD-LSTM (Khandelwal 2018)."""


class Perturbation(NamedTuple):
    """Losses of the same M targets, the context intact and perturbed in each way.

    Attributes:
      distances: [K] n, tokens that stay as they are, rising.
      positions: [M] index of each target in the text.
      intact: [M] nats with the intact context.
      nats: by kind, [K, M] nats.
    """

    distances: np.ndarray
    positions: np.ndarray
    intact: np.ndarray
    nats: dict[str, np.ndarray]


def perturb(
    contexts: np.ndarray,
    kind: str,
    distance: int,
    pool: np.ndarray,
    draw: np.random.Generator,
    span: int = 20,
) -> np.ndarray:
    """Contexts whose nearest tokens stay and whose far ones are perturbed.

    Args:
      contexts: [M, C] tokens, the nearest to the target last.
      kind: of KINDS.
      distance: n, tokens that stay.
      pool: [N] tokens, from which "replaced" draws evenly.
      draw: every row has draws of its own.
      span: tokens that "local" shuffles.

    Returns:
      [M, C], or [M, n] where they are dropped.

    Raises:
      UserError: no such kind, or 1 <= n <= C does not hold.
    """
    check_name(kind, KINDS, "perturbation")
    whole = contexts.shape[1]
    if not 1 <= distance <= whole or span < 1:
        raise UserError(
            f"distance={distance} must lie in a context of {whole} tokens, and span={span} be 1 or more"
        )
    far = whole - distance
    if kind == "dropped":
        return contexts[:, far:]
    begin = max(far - span, 0) if kind == "local" else 0
    changed = contexts.copy()
    if kind == "replaced":
        changed[:, :far] = draw.choice(pool, (len(contexts), far))
    else:
        changed[:, begin:far] = draw.permuted(contexts[:, begin:far], axis=1)
    return changed


def perturb_losses(
    model: Model,
    params: Params,
    tokens: Any,
    first: int,
    *,
    distances: Sequence[int] = DISTANCES,
    kinds: Sequence[str] = KINDS,
    length: int = 300,
    span: int = 20,
    targets: int | None = 1000,
    seed: int = 0,
    rows: int = 128,
    progress: Progress = lambda *_: None,
) -> Perturbation:
    """The losses of the same targets with their contexts intact and perturbed; dropout is off.

    Costs length steps for each target, kind and distance.

    Args:
      model, params: a language model.
      tokens: [N] the text.
      first: the input before tokens[0].
      distances: n, in any order.
      kinds: of KINDS.
      length: C, tokens of the intact context.
      span: tokens that "local" shuffles.
      targets: how many targets at least; None: all; see `context.target_positions`.
      seed: of the targets' offset and of every draw.
      rows: runs side by side; bounds the memory.
      progress: called with (steps done, in all).

    Raises:
      UserError: a distance outside the context, an unknown kind, or a text too short for one context.
    """
    distances = sorted({int(n) for n in distances})
    inputs = shifted(tokens, first)
    tokens = np.asarray(tokens, np.int32)
    positions = target_positions(len(tokens), (length,), targets, seed)
    contexts = inputs[positions[:, None] + np.arange(1 - length, 1)[None, :]]
    draw = np.random.default_rng((seed, 1))  # apart from the draw of the targets
    texts = [contexts]
    for kind in kinds:
        texts += [perturb(contexts, kind, distance, tokens, draw, span) for distance in distances]
    sizes = np.array([text.shape[1] for text in texts])
    lengths = np.repeat(sizes, len(positions))
    starts = np.cumsum(lengths) - lengths
    nats = cut_nats(
        model,
        params,
        np.concatenate([text.ravel() for text in texts]),
        starts,
        lengths,
        np.tile(tokens[positions], len(texts)),
        rows=rows,
        progress=progress,
    )
    intact, *rest = nats.reshape(len(texts), -1)
    by_kind = np.reshape(rest, (len(kinds), len(distances), -1))
    return Perturbation(np.asarray(distances), positions, intact, dict(zip(kinds, by_kind, strict=True)))


def increase(found: Perturbation) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By kind, the mean increase of the targets' loss ([K] nats) and its standard error ([K])."""
    intact = np.asarray(found.intact, np.float64)
    return {kind: mean_and_error(nats - intact) for kind, nats in found.nats.items()}


_LOOKS = {
    "local": ("green", "s", "order of the {span} {unit} beyond n lost"),
    "global": ("blue", "o", "order of all {unit} beyond n lost"),
    "replaced": ("vermilion", "^", "all {unit} beyond n replaced by others"),
    "dropped": ("grey", "D", "all {unit} beyond n dropped"),
}


def figure(
    found: Perturbation,
    *,
    length: int = 300,
    span: int = 20,
    unit: str = "tokens",
    title: str = "",
    published: Mapping[str, float] = PUBLISHED,
) -> Figure:
    """Increase of the loss against n, above its value with the intact context, which is the line at 0.

    Args:
      found: the losses; bars are two standard errors.
      length, span: as they were measured.
      unit: of n.
      title: above the figure.
      published: distances to mark, by label.
    """
    drawing = new_figure(3.9)
    headline(drawing, title)
    axes = drawing.subplots()
    axes.axhline(0, color=COLOURS["grey"], linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        f"context of {length} {unit} intact: {found.intact.mean(dtype=np.float64):.3f} nats a token",
        xy=(0, 0), xycoords=("axes fraction", "data"), xytext=(3, -3), textcoords="offset points",
        va="top", fontsize=8, color=COLOURS["grey"],
    )  # fmt: skip
    means = increase(found)
    for number, (kind, (mean, error)) in enumerate(means.items()):
        colour, marker, label = _LOOKS[kind]
        apart = found.distances * 1.02 ** (
            number - (len(means) - 1) / 2
        )  # so that the bars can be told apart
        axes.errorbar(
            apart, mean, 2 * error, color=COLOURS[colour], marker=marker, markersize=4, linewidth=1.5,
            elinewidth=1, capsize=2, label=label.format(span=span, unit=unit),
        )  # fmt: skip
    for number, (label, at) in enumerate(published.items()):
        axes.axvline(
            at, color=COLOURS["grey"], linewidth=0.8, linestyle=(0, (2, 3)), zorder=1,
            label=None if number else "how far order matters to AWD-LSTM (Khandelwal 2018)",
        )  # fmt: skip
        axes.annotate(
            label, xy=(at, 1), xycoords=("data", "axes fraction"), xytext=(0, 2),
            textcoords="offset points", ha="center", fontsize=8, color=COLOURS["grey"],
        )  # fmt: skip
    tops = [float(np.max(mean + 2 * error)) for mean, error in means.values()]
    lows = [float(np.min(mean - 2 * error)) for mean, error in means.values()]
    axes.set_ylim(min([*lows, -0.06 * max(tops)]) * 1.15, max(tops) * 1.05)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([int(n) for n in found.distances]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(f"n: nearest {unit} of the context that stay as they are", fontsize=9)
    axes.set_ylabel("increase of the loss (nats a token)", fontsize=9)
    tidy(axes)
    axes.legend(fontsize=8, frameon=True, framealpha=0.9, edgecolor="none", loc="upper right")
    return drawing
