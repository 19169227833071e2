"""Parity: is the number of ones so far odd? One bit of memory that every input may turn over."""

import math

import jax
import jax.numpy as jnp

from lstm_jax.support.notation import Array, Key
from lstm_jax.tasks.base import Criterion
from lstm_jax.tasks.generated import Example, Generator, check

__all__ = ["parity"]


def parity(*, length: int = 40, shortest: int = 1, running: bool = False) -> Generator:
    """The parity of fair bits: of all of them at the last step, or of those so far at each.

    A sequence has `shortest` to `length` bits, evenly (Deletang et al. 2023 train on 1 to 40); T = length,
    V = 2, O = 2.

    Chance: ln 2 nats, 1/2 right: without the bits, their parity is as even as the last of them. Solved: all
    right (Deletang et al. then ask for 90 % and more at lengths up to 500: `evaluate.lengths`).

    Args:
      length: most bits of a sequence.
      shortest: fewest; equal to `length`: all are as long. Short ones are what makes the final parity
        learnable by gradient descent at all.
      running: ask at every step and not just at the last: the same function, taught step by step.

    Raises:
      UserError: an impossible length, or shortest beyond it.
    """
    check("length", length, 1)
    check("shortest", shortest, 1, length)

    def draw(key: Key, real: Array) -> Example:
        inputs = jax.random.randint(key, (length,), 0, 2)
        step = jnp.arange(length)
        asked = step < real if running else step == real - 1
        return Example(inputs, jnp.cumsum(inputs) % 2, asked.astype(jnp.float32), real)

    kinds = length - shortest + 1
    return Generator(
        draw,
        steps=length,
        vocab=2,
        outputs=2,
        chance={"nats": math.log(2), "accuracy": 0.5},
        solved=(Criterion("accuracy", 1.0, above=True),),
        bits=(shortest + length) / 2 + math.log2(kinds),
        lengths=(shortest, length),
    )
