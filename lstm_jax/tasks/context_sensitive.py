"""The context-sensitive tasks of Deletang et al. 2023 on strings; those on binary numbers are in binary.py.

Every sequence has its own length, `shortest` to `length` symbols of input evenly; Deletang et al. train on 1
to 40 and test on 41 to 500. Where several symbols are asked, they follow at blank steps, and a terminator
with them (the paper asks for none where the answer is as long as the input).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.notation import Array, Key
from lstm_jax.tasks.generated import Example, Generator, check
from lstm_jax.tasks.readout import SOLVED, answered, asked_at_end, blind_answers, entropy_bits

__all__ = ["bucket_sort", "duplicate_string", "missing_duplicate", "odds_first"]

END = 2
"""The class of the terminator behind answers of bits."""
KINDS = 5
"""Kinds of symbols that `bucket_sort` sorts, as in the paper."""


def duplicate_string(*, length: int = 40, shortest: int = 1) -> Generator:
    """The input has n bits; then, at blank steps, the same twice, and the terminator.

    Tokens: 0 blank, 1 and 2 the bits; classes: 0, 1, and 2 the terminator. T = 3 length + 1. Chance: the bits
    are even, and when the answer is over is known as far as the step tells it. Solved: 99 % right.

    Args:
      length: most bits of the input.
      shortest: fewest.

    Raises:
      UserError: an impossible length, or shortest beyond it.
    """
    check("length", length, 1)
    check("shortest", shortest, 1, length)

    def draw(key: Key, n: Array) -> Example:
        bits = jax.random.randint(key, (length,), 0, 2)
        return answered(1 + bits, n, bits[jnp.arange(2 * length) % n], 2 * n, END)

    return _of_bits(draw, length, shortest, 2)


def odds_first(*, length: int = 40, shortest: int = 1) -> Generator:
    """The input has n bits; then, at blank steps, those at odd places, those at even ones, the end.

    Tokens: 0 blank, 1 and 2 the bits; classes: 0, 1, and 2 the terminator. T = 2 length + 1. Chance: the bits
    are even, and when the answer is over is known as far as the step tells it. Solved: 99 % right.

    Args:
      length: most bits of the input.
      shortest: fewest.

    Raises:
      UserError: an impossible length, or shortest beyond it.
    """
    check("length", length, 1)
    check("shortest", shortest, 1, length)

    def draw(key: Key, n: Array) -> Example:
        bits = jax.random.randint(key, (length,), 0, 2)
        place, odds = jnp.arange(length), (n + 1) // 2
        taken = jnp.where(place < odds, 2 * place, 2 * (place - odds) + 1)
        return answered(1 + bits, n, bits[jnp.clip(taken, 0, length - 1)], n, END)

    return _of_bits(draw, length, shortest, 1)


def _of_bits(draw: Callable[[Key, Array], Example], length: int, shortest: int, times: int) -> Generator:
    """The Generator of a task that asks for the n bits of the input `times` times, in some order."""
    lengths = range(shortest, length + 1)
    bits, over = np.array([0.5, 0.5, 0]), np.array([0, 0, 1.0])
    return Generator(
        draw,
        steps=(1 + times) * length + 1,
        vocab=3,
        outputs=3,
        chance=blind_answers((shortest, length), (np.array([bits] * times * n + [over]) for n in lengths)),
        solved=SOLVED,
        bits=(shortest + length) / 2 + math.log2(len(lengths)),
        lengths=(shortest, length),
    )


def missing_duplicate(*, length: int = 40, shortest: int = 1) -> Generator:
    """A string of bits twice, where one bit of the whole is left out: which is it? Asked at the last step.

    A length is rounded to an even one, down but not below 2. Tokens: the bits 0 and 1, 2 the gap. V = 3, O =
    2. Chance: ln 2 nats, 1/2 right. Solved: 99 % right.

    Args:
      length: most symbols of both copies.
      shortest: fewest.

    Raises:
      UserError: an impossible length, or shortest beyond it.
    """
    check("length", length, 2)
    check("shortest", shortest, 1, length)
    steps = length // 2 * 2

    def draw(key: Key, n: Array) -> Example:
        which, where = jax.random.split(key)
        half = jnp.maximum(n // 2, 1)
        bits = jax.random.randint(which, (steps,), 0, 2)[jnp.arange(steps) % half]
        gap = jax.random.randint(where, (), 0, 2 * half)
        return asked_at_end(jnp.where(jnp.arange(steps) == gap, 2, bits), 2 * half, bits[gap])

    halves = [max(n // 2, 1) for n in range(shortest, length + 1)]
    return Generator(
        draw,
        steps=steps,
        vocab=3,
        outputs=2,
        chance={"nats": math.log(2), "accuracy": 0.5},
        solved=SOLVED,
        bits=float(np.mean([half + math.log2(2 * half) for half in halves])) + entropy_bits(halves),
        lengths=(shortest, length),
    )


def bucket_sort(*, length: int = 40, shortest: int = 1) -> Generator:
    """The input has n symbols of 5 kinds; then, at blank steps, the same in order, and the terminator.

    Tokens: 0 blank, 1 to 5 the symbols; classes: 0 to 4, and 5 the terminator. T = 2 length + 1. Chance:
    place j of the sorted string is above kind v where at most j symbols are of v or below: a binomial
    probability. Solved: 99 % right.

    Args:
      length: most symbols of the input.
      shortest: fewest.

    Raises:
      UserError: an impossible length, or shortest beyond it.
    """
    check("length", length, 1)
    check("shortest", shortest, 1, length)

    def draw(key: Key, n: Array) -> Example:
        symbols = jax.random.randint(key, (length,), 0, KINDS)
        ordered = jnp.sort(jnp.where(jnp.arange(length) < n, symbols, KINDS))
        return answered(1 + symbols, n, ordered, n, KINDS)

    lengths = range(shortest, length + 1)
    return Generator(
        draw,
        steps=2 * length + 1,
        vocab=KINDS + 1,
        outputs=KINDS + 1,
        chance=blind_answers((shortest, length), _order_statistics(length)[shortest - 1 :]),
        solved=SOLVED,
        bits=(shortest + length) / 2 * math.log2(KINDS) + math.log2(len(lengths)),
        lengths=(shortest, length),
    )


def _order_statistics(length: int) -> list[np.ndarray]:
    """For n = 1 to `length` the table [n + 1, KINDS + 1] of the sorted string and the terminator."""
    share = np.arange(KINDS + 1) / KINDS  # of the symbols below each kind
    counts = np.zeros((KINDS + 1, length + 1))  # the distribution of how many symbols are below each kind
    counts[:, 0] = 1
    found = []
    for n in range(1, length + 1):
        more = np.concatenate([np.zeros((KINDS + 1, 1)), counts[:, :-1]], 1)
        counts = (1 - share[:, None]) * counts + share[:, None] * more
        at_most = counts.cumsum(1)[:, :n].T  # [n, KINDS + 1]: at most j symbols are below the kind
        table = np.zeros((n + 1, KINDS + 1))
        table[:n, :KINDS] = at_most[:, :-1] - at_most[:, 1:]
        table[n, KINDS] = 1
        found.append(table)
    return found
