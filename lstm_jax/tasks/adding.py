"""Adding and multiplying: two marked numbers among many, and at the end their sum or product.

`adding` is the form of Arjovsky, Shah & Bengio 2016 (5.2), which most papers since use; `adding_1997` and
`multiplication` are experiments 4 and 5 of Hochreiter & Schmidhuber 1997 (5.4, 5.5), where the second mark
too may stand early, so that both numbers are held for at least half of the sequence.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from lstm_jax.support.notation import Array, Key
from lstm_jax.tasks import scores
from lstm_jax.tasks.base import Criterion
from lstm_jax.tasks.generated import Example, Generator, check

__all__ = ["adding", "adding_1997", "multiplication"]

MANTISSA = 23
"""Bits of a float32 drawn uniformly from an interval."""
CLOSE = 0.04
"""The absolute error below which Hochreiter & Schmidhuber count a sequence as right."""


def adding(*, length: int = 50) -> Generator:
    """The sum of two numbers, one marked in each half of the sequence (Arjovsky, Shah & Bengio 2016, 5.2).

    Features [x, mark]: x ~ U(0, 1) at every step; the mark is 1 at one step of the first half and at one of
    the second, 0 elsewhere. The target x1 + x2 is scored at the last step. T = length, D = 2, O = 1.

    Chance: without the input the best answer is the mean, 1, with the variance as squared error:
    2 Var U(0, 1) = 2/12 = 1/6. Solved: squared error at most 0.01.

    Args:
      length: steps of a sequence; the first number is held for length/2 steps and more.

    Raises:
      UserError: an impossible length.
    """
    check("length", length, 2)
    half = length // 2

    def draw(key: Key) -> Example:
        numbers, one, other = jax.random.split(key, 3)
        x = jax.random.uniform(numbers, (length,))
        first = jax.random.randint(one, (), 0, half)
        second = jax.random.randint(other, (), half, length)
        step = jnp.arange(length)
        marks = (step == first) | (step == second)
        return _example(x, marks.astype(jnp.float32), x[first] + x[second], length, None)

    return Generator(
        draw,
        steps=length,
        input_dim=2,
        outputs=1,
        chance={"squared_error": 1 / 6},
        solved=(Criterion("squared_error", 0.01, above=False),),
        bits=MANTISSA * length + math.log2(half * (length - half)),
        scores=scores.values,
    )


def adding_1997(*, length: int = 50) -> Generator:
    """The sum of two marked numbers (Hochreiter & Schmidhuber 1997, 5.4, experiment 4).

    Features [x, mark]: x ~ U(-1, 1); the mark is -1 at the first and the last step, 1 at two steps, 0
    elsewhere. The sequence has `length` to `length` + `length`/10 steps, evenly; one of its first ten steps
    is marked, then one of its first length/2 - 1 that are not yet. At its end 0.5 + (x1 + x2) / 4 is asked
    for. D = 2, O = 1. Where the paper marks the very first step, with x = 0 in its place, here that step is
    never marked: this keeps -1 for it alone, and the chance level simple.

    Chance: the mean 0.5, with squared error Var(x1 + x2) / 16 = 2/3/16 = 1/24; `correct`, the share with an
    absolute error below 0.04, is P(|x1 + x2| < s) with s = 4 * 0.04 for a density (2 - |x|) / 4:
    s (4 - s) / 4 = 0.1536. Solved: 99 % correct (the paper: the last 2,000 sequences).

    Args:
      length: least steps of a sequence (the paper's T); the numbers are held for half of it and more.

    Raises:
      UserError: an impossible length.
    """
    s = 4 * CLOSE
    return _marked(
        length,
        low=-1.0,
        combine=lambda one, other: 0.5 + (one + other) / 4,
        chance={"squared_error": 1 / 24, "correct": s * (4 - s) / 4},
        correct=0.99,
    )


def multiplication(*, length: int = 50) -> Generator:
    """The product of two marked numbers (Hochreiter & Schmidhuber 1997, 5.5, experiment 5).

    As `adding_1997`, with x ~ U(0, 1) and the target x1 x2.

    Chance: the mean 1/4, with squared error E[x^2]^2 - E[x]^4 = 1/9 - 1/16 = 7/144. The density of the
    product, -ln z, falls from 0 on, so the single answer that is most often within 0.04 is 0.04 itself:
    `correct` is P(x1 x2 < s) = s (1 - ln s) = 0.282 with s = 0.08. Solved: 93 % correct (the paper stops at
    140 wrong of 2,000, and calls for more precision than this frame is apt to give).

    Args:
      length: least steps of a sequence.

    Raises:
      UserError: an impossible length.
    """
    s = 2 * CLOSE
    return _marked(
        length,
        low=0.0,
        combine=lambda one, other: one * other,
        chance={"squared_error": 7 / 144, "correct": s * (1 - math.log(s))},
        correct=0.93,
    )


def _marked(
    length: int,
    *,
    low: float,
    combine: Callable[[Array, Array], Array],
    chance: dict[str, float],
    correct: float,
) -> Generator:
    """The frame of experiments 4 and 5: numbers from U(low, 1)."""
    check("length", length, 8)
    longest = length + length // 10
    early, half = min(10, length // 2 - 1), length // 2 - 1  # the steps 1..early and 1..half may be marked

    def draw(key: Key) -> Example:
        numbers, one, other, end = jax.random.split(key, 4)
        x = jax.random.uniform(numbers, (longest,), minval=low)
        first = jax.random.randint(one, (), 1, early + 1)
        second = jax.random.randint(other, (), 1, half)  # one of half - 1: those without the first
        second = second + (second >= first)
        real = jax.random.randint(end, (), length, longest + 1)
        step = jnp.arange(longest)
        marks = ((step == first) | (step == second)).astype(jnp.float32)
        marks = marks - ((step == 0) | (step == real - 1))
        return _example(x, marks, combine(x[first], x[second]), longest, real)

    return Generator(
        draw,
        steps=longest,
        input_dim=2,
        outputs=1,
        chance=chance,
        solved=(Criterion("correct", correct, above=True),),
        bits=MANTISSA * length + math.log2(early * (half - 1) * (longest - length + 1)),
        scores=scores.values_within(CLOSE),
    )


def _example(x: Array, marks: Array, answer: Array, steps: int, real: Array | None) -> Example:
    """The answer is asked for at the last real step."""
    end = (steps if real is None else real) - 1
    return Example(
        inputs=jnp.stack([x, marks], axis=-1),
        targets=jnp.full((steps, 1), answer),
        weights=(jnp.arange(steps) == end).astype(jnp.float32),
        length=real,
    )
