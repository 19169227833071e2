"""Delayed recall: one symbol, a wait, a cue: which was it?

The plainest measure of memory length. The symbol stands at the first step, then `length - 1` distractors
(or blanks), then the cue, at which alone the answer is scored: it is recalled over a lag of `length` steps.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.notation import Key
from lstm_jax.tasks.base import Criterion
from lstm_jax.tasks.generated import Example, Generator, check

__all__ = ["delayed_recall"]


def delayed_recall(*, length: int = 50, symbols: int = 8, distractors: int = 8) -> Generator:
    """One of `symbols` at step 0, noise, and the cue at step `length`, where the symbol is asked for.

    Tokens: 0 the cue, then the symbols, then the distractors; T = length + 1. Chance: ln(symbols) nats and
    1/symbols right. Solved: 99 % right.

    Args:
      length: the lag in steps between the symbol and the answer.
      symbols: how many symbols there are to remember.
      distractors: kinds of noise tokens, drawn uniformly; 0: the wait is blank (the cue's token).

    Raises:
      UserError: an impossible length or number of symbols.
    """
    check("length", length, 1)
    check("symbols", symbols, 2)
    check("distractors", distractors, 0)

    def draw(key: Key) -> Example:
        which, noise = jax.random.split(key)
        symbol = jax.random.randint(which, (), 0, symbols)
        wait = jnp.zeros(length - 1, jnp.int32)
        if distractors:
            wait = 1 + symbols + jax.random.randint(noise, (length - 1,), 0, distractors)
        inputs = jnp.concatenate([symbol[None] + 1, wait, jnp.zeros(1, jnp.int32)])
        targets = jnp.full(length + 1, symbol)
        weights = (jnp.arange(length + 1) == length).astype(jnp.float32)
        return Example(inputs, targets, weights)

    return Generator(
        draw,
        steps=length + 1,
        vocab=1 + symbols + distractors,
        outputs=symbols,
        chance={"nats": float(np.log(symbols)), "accuracy": 1 / symbols},
        solved=(Criterion("accuracy", 0.99, above=True),),
        bits=float(np.log2(symbols) + (length - 1) * np.log2(max(distractors, 1))),
    )
