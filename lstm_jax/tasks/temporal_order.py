"""Temporal order: which of two symbols came at each of a few far places, in their order.

Experiments 6a and 6b of Hochreiter & Schmidhuber 1997 (5.6), at any length and with up to four places.
"""

import math

import jax
import jax.numpy as jnp

from lstm_jax.support.notation import Key
from lstm_jax.tasks.base import Criterion
from lstm_jax.tasks.generated import Example, Generator, check

__all__ = ["temporal_order"]

PLACES = {2: (0.1, 0.5), 3: (0.1, 0.33, 0.66), 4: (0.1, 0.3, 0.5, 0.7)}
"""order -> where the windows begin in which the symbols stand, in lengths; each is a tenth wide."""


def temporal_order(*, length: int = 50, order: int = 2) -> Generator:
    """Classifies a sequence by the order of X and Y in it (Hochreiter & Schmidhuber 1997, 5.6).

    The sequence starts with E and ends, after `length` to `length` + `length`/10 steps, with the trigger B;
    in between are symbols drawn from a, b, c, d, except for X or Y, each with probability 1/2, at `order`
    steps. At length 100 these lie evenly in [10, 20] and [50, 60] for order 2 (experiment 6a), in [10, 20],
    [33, 43] and [66, 76] for order 3 (6b), and so in proportion; order 4, [10, 20], [30, 40], [50, 60] and
    [70, 80], is no experiment of the paper. Scored at B alone. Tokens E, B, X, Y, a, b, c, d; the class is
    the number with X = 0 and Y = 1 as binary digits, the first foremost.

    Chance: order ln 2 nats, 1 in 2^order right. Solved: 99 % right.

    Args:
      length: least steps of a sequence; the first symbol is held for 4/5 of it and more.
      order: relevant symbols, 2, 3 or 4: 4, 8 or 16 classes.

    Raises:
      UserError: an impossible length or order.
    """
    check("length", length, 10)
    check("order", order, min(PLACES), max(PLACES))
    longest, width = length + length // 10, length // 10
    starts = jnp.array([int(place * length) for place in PLACES[order]])

    def draw(key: Key) -> Example:
        what, where, noise, end = jax.random.split(key, 4)
        bits = jax.random.randint(what, (order,), 0, 2)
        places = starts + jax.random.randint(where, (order,), 0, width + 1)
        real = jax.random.randint(end, (), length, longest + 1)
        step = jnp.arange(longest)
        inputs = 4 + jax.random.randint(noise, (longest,), 0, 4)
        inputs = inputs.at[places].set(2 + bits)
        inputs = jnp.where(step == 0, 0, jnp.where(step == real - 1, 1, inputs))
        answer = jnp.dot(bits, 2 ** jnp.arange(order)[::-1])
        weights = (step == real - 1).astype(jnp.float32)
        return Example(inputs, jnp.full(longest, answer), weights, real)

    return Generator(
        draw,
        steps=longest,
        vocab=8,
        outputs=2**order,
        chance={"nats": order * math.log(2), "accuracy": 0.5**order},
        solved=(Criterion("accuracy", 0.99, above=True),),
        bits=order * (1 + math.log2(width + 1)) + 2 * (length - 2 - order) + math.log2(longest - length + 1),
    )
