"""A flat text as parallel streams, read in windows that follow each other.

Everything that depends on the size of the text is computed here once, in NumPy; what a step needs is
then a look-up by the step's number, so that a batch is a pure function of (split, step).
"""

import math
from typing import NamedTuple

import numpy as np

from lstm_jax.support.errors import UserError

__all__ = ["SHORTEST", "Plan", "Streams", "cut_streams", "fixed_plan", "random_plan", "static_lengths"]

SHORTEST = 5
"""Tokens of the shortest random window (AWD-LSTM, Merity 2017)."""
TAIL = 3.0
"""Standard deviations above the base at which a random window's length is cut off (0.1 % are longer)."""
BUCKETS = 3
"""Static lengths of random windows: each costs one compile, and a window is padded to the next of them."""


class Streams(NamedTuple):
    """B rows of P positions; at position j a row reads `tokens[:, j]` and is to say `tokens[:, j + 1]`.

    Attributes:
      tokens: [B, P + 1] int32.
      first: [B] int32, the first position whose target is scored; those before it are context.
      last: [B] int32, the position after the last one that is real: P, or P - 1 where the text did not
        fill the row.
    """

    tokens: np.ndarray
    first: np.ndarray
    last: np.ndarray


class Plan(NamedTuple):
    """The windows of a split, by step.

    Attributes:
      start: [S] int32, position of the window's first step.
      length: [S] int32, steps of the window that are real.
      bucket: [S] int32, index into `lengths`.
      lengths: the static lengths, one a bucket.
      masked: for each bucket, whether its windows can have positions that are not scored.
      ragged: whether windows can be shorter than their bucket.
      ends: [epochs] int64, the step at which each epoch ends.
    """

    start: np.ndarray
    length: np.ndarray
    bucket: np.ndarray
    lengths: tuple[int, ...]
    masked: tuple[bool, ...]
    ragged: bool
    ends: np.ndarray


def cut_streams(text: np.ndarray, before: int, batch: int, warmup: int = 0, name: str = "text") -> Streams:
    """Cuts a text into `batch` contiguous streams in which every token is a scored target exactly once.

    Each stream's first input is the token that stands before its first target. With `warmup`, every
    stream after the first is preceded by that many tokens of context, which are not scored; the first
    stream scores as many tokens more, so that all rows are equally long and nothing but the last position
    of some rows is padding.

    Args:
      text: [N] tokens.
      before: the token taken to stand before the text.
      batch: B.
      warmup: W, context tokens.
      name: what the text is, for the message.

    Raises:
      UserError: the text is too short for so many streams.
    """
    rows = -(
        -(len(text) + (batch - 1) * warmup) // batch
    )  # P: B rows hold N targets and (B - 1) W of context
    missing = batch * rows - (batch - 1) * warmup - len(text)  # less than B: one position of the last rows
    if len(text) < 1 or (batch > 1 and rows - warmup - (missing > 0) < 1):
        context = f" with {warmup} tokens of warm-up each" if warmup else ""
        raise UserError(
            f"the {name} split has {len(text)} tokens, too few for {batch} parallel streams{context}: "
            "use a smaller batch"
        )
    first = np.full(batch, warmup, np.int32)
    first[0] = 0
    last = np.full(batch, rows, np.int32)
    last[batch - missing :] -= 1
    scored = (last - first).astype(np.int64)
    begin = np.cumsum(scored) - scored - first  # place in the text of each row's first target
    padded = np.concatenate([[before], text, [before]]).astype(np.int32)
    return Streams(padded[begin[:, None] + np.arange(rows + 1)], first, last)


def fixed_plan(streams: Streams, window: int) -> Plan:
    """Windows of `window` tokens and, where these do not fill the rows, a last one of just the rest.

    Masks cost nothing where none are needed: only windows that hold context or padding are masked, so
    that the last window may be a bucket of its own at the same length.
    """
    positions = streams.tokens.shape[1] - 1
    start = np.arange(0, positions, window, dtype=np.int32)
    length = np.minimum(window, positions - start).astype(np.int32)
    masked = (start < streams.first.max()) | (start + length > streams.last.min())
    kinds = list(zip(length.tolist(), masked.tolist(), strict=True))
    buckets = sorted(set(kinds), key=kinds.index)
    index = {kind: number for number, kind in enumerate(buckets)}
    return Plan(
        start,
        length,
        np.array([index[kind] for kind in kinds], np.int32),
        tuple(kind[0] for kind in buckets),
        tuple(kind[1] for kind in buckets),
        False,
        np.array([len(start)], np.int64),
    )


def random_plan(
    streams: Streams, window: int, jitter: float, half: float, epochs: int, seed: int
) -> tuple[Streams, Plan]:
    """Windows of random length (Merity, Keskar & Socher 2017, "variable length backpropagation").

    The base is `window` with probability 1 - `half`, else half of it; the length is
    max(5, int(Normal(base, jitter))), cut off at `window` + 3 `jitter`. The k-th length of an epoch is a
    function of (seed, epoch, k), so that a plan of more epochs begins with the plan of fewer.

    Returns:
      The streams, with room behind them for the padding of the last window, and the plan.
    """
    positions = streams.tokens.shape[1] - 1
    lengths = static_lengths(window, jitter, half)
    starts, drawn, ends = [], [], []
    for epoch in range(epochs):
        length = _draw(positions // SHORTEST + 1, window, jitter, half, lengths[-1], (seed, epoch))
        end = np.cumsum(length)
        windows = int(np.searchsorted(end, positions)) + 1
        length, end = length[:windows], np.minimum(end[:windows], positions)
        start = np.concatenate([[0], end[:-1]])
        starts.append(start)
        drawn.append(end - start)
        ends.append(windows)
    length = np.concatenate(drawn).astype(np.int32)
    plan = Plan(
        np.concatenate(starts).astype(np.int32),
        length,
        np.searchsorted(lengths, length).astype(np.int32),
        lengths,
        (True,) * len(lengths),
        True,
        np.cumsum(ends).astype(np.int64),
    )
    # A slice that would run over the end is moved back by XLA, not cut: there must be something to read.
    room = np.zeros((len(streams.tokens), lengths[-1]), np.int32)
    return streams._replace(tokens=np.concatenate([streams.tokens, room], axis=1)), plan


def _draw(
    count: int, window: int, jitter: float, half: float, longest: int, key: tuple[int, int]
) -> np.ndarray:
    """The first `count` lengths of an epoch, [count] int64."""
    seed, epoch = key

    def stream(number: int) -> np.random.Generator:  # one a quantity: then more draws never change the first
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed % 2**64, epoch, number])))

    base = np.where(stream(0).random(count) < half, window / 2, float(window))
    return np.clip((base + jitter * stream(1).standard_normal(count)).astype(np.int64), SHORTEST, longest)


def static_lengths(window: int, jitter: float, half: float) -> tuple[int, ...]:
    """The lengths, at most three, that random windows are padded to: the choice with the least padding.

    Minimises the expected padded length under the distribution of `random_plan`; depends on nothing else.
    """
    longest = max(SHORTEST, window, int(window + TAIL * jitter))
    lengths = np.arange(SHORTEST, longest + 1)

    def cumulative(base: float) -> np.ndarray:  # P(length <= l)
        if jitter == 0:
            return (lengths >= int(base)).astype(float)
        return np.array([0.5 * math.erfc((base - l - 1) / (jitter * math.sqrt(2))) for l in lengths])

    below = (1 - half) * cumulative(window) + half * cumulative(window / 2)
    below[-1] = 1.0  # whatever is longer is cut off there
    possible = lengths[np.diff(below, prepend=0.0) > 0]
    if len(possible) <= BUCKETS:
        return tuple(int(length) for length in possible)
    a, b = np.meshgrid(lengths[:-1], lengths[:-1], indexing="ij")
    below_a, below_b = np.meshgrid(below[:-1], below[:-1], indexing="ij")
    expected = a * below_a + b * (below_b - below_a) + longest * (1 - below_b)
    best = np.unravel_index(np.argmin(np.where(a < b, expected, np.inf)), a.shape)
    return int(a[best]), int(b[best]), longest
