"""Associative recall: c9k8j3f1??c -> 9: which value stood behind this key?

Ba et al. 2016 (fast weights), section 4.1. The network must bind each key to its value in its state: the
memory is measured by the number of pairs, not by their age alone.
"""

import math

import jax
import jax.numpy as jnp

from lstm_jax.support.notation import Key
from lstm_jax.tasks.base import Criterion
from lstm_jax.tasks.generated import Example, Generator, check

__all__ = ["associative_recall"]


def associative_recall(*, length: int = 4, letters: int = 26, digits: int = 10) -> Generator:
    """`length` pairs of a letter and a digit, two question marks, a letter of before; its digit is asked for.

    No letter comes twice; digits may. Tokens: 0 the question mark, then the letters, then the digits;
    T = 2 length + 3, scored at the last step. Chance: the digits are drawn uniformly and alike for every
    key, so ln(digits) nats and 1/digits right. Solved: 99 % right.

    Args:
      length: pairs K; the queried one is drawn uniformly.
      letters: kinds of keys, K at least.
      digits: kinds of values.

    Raises:
      UserError: an impossible argument.
    """
    check("letters", letters, 2)
    check("length", length, 1, letters)
    check("digits", digits, 2)
    steps = 2 * length + 3

    def draw(key: Key) -> Example:
        which, values, query = jax.random.split(key, 3)
        letter = 1 + jax.random.permutation(which, letters)[:length]
        digit = jax.random.randint(values, (length,), 0, digits)
        asked = jax.random.randint(query, (), 0, length)
        pairs = jnp.stack([letter, 1 + letters + digit], axis=1).ravel()
        inputs = jnp.concatenate([pairs, jnp.zeros(2, jnp.int32), letter[asked][None]])
        weights = (jnp.arange(steps) == steps - 1).astype(jnp.float32)
        return Example(inputs.astype(jnp.int32), jnp.full(steps, digit[asked]), weights)

    return Generator(
        draw,
        steps=steps,
        vocab=1 + letters + digits,
        outputs=digits,
        chance={"nats": math.log(digits), "accuracy": 1 / digits},
        solved=(Criterion("accuracy", 0.99, above=True),),
        bits=math.log2(math.perm(letters, length)) + length * math.log2(digits) + math.log2(length),
    )
