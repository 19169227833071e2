"""a^n b^n: count the a's, then say when the b's are over.

Gers & Schmidhuber 2001: an LSTM learns it from short strings and goes on counting far beyond them; with
three letters it is a^n b^n c^n, which no context-free grammar makes.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.notation import Array, Key
from lstm_jax.tasks import scores
from lstm_jax.tasks.base import Batch, Criterion, Metrics, Scores
from lstm_jax.tasks.generated import Example, Generator, check, check_real

__all__ = ["a_n_b_n"]

SURE = 0.8
"""Probability that the right symbol must have where there is but one."""


def a_n_b_n(*, length: int = 10, least: float = 0.0, letters: int = 2) -> Generator:
    """Mark, a^n b^n, mark: every symbol after the first is predicted. n is drawn uniformly up to `length`.

    Tokens: 0 the mark, 1 a, 2 b, ...; T = letters * length + 1. Metrics, all over the real steps:
      nats, accuracy: of the symbol that comes; where the a's end cannot be known.
      counted: share of strings in which, once the first b is read, the right symbol is given more than 0.8 of
        the probability at every step: the b's and the mark at their end.
    Chance: a string is told by n, so the marginal distribution of each position is a count over the
    possible n. By position alone hardly a string is ever counted: where one ends, the next one goes on.
    Solved: 99 % counted. Evaluate at twice the length (`evaluate.lengths`): does the counter go on?

    Args:
      length: N, the largest n.
      least: the smallest n as a share of `length`; 0: 1.
      letters: 2: a^n b^n; 3: a^n b^n c^n; ...

    Raises:
      UserError: an impossible argument.
    """
    check("length", length, 1)
    check_real("least", least, 0, 1)
    check("letters", letters, 2)
    shortest = max(1, int(np.ceil(least * length)))
    steps = letters * length + 1

    def draw(key: Key) -> Example:
        n = jax.random.randint(key, (), shortest, length + 1)
        last = letters * n
        t = jnp.arange(steps)
        targets = jnp.where(t < last, 1 + t // n, 0)
        inputs = jnp.concatenate([jnp.zeros(1, targets.dtype), targets[:-1]])
        return Example(inputs, targets, (t <= last).astype(jnp.float32), last + 1)

    return Generator(
        draw,
        steps=steps,
        vocab=letters + 1,
        outputs=letters + 1,
        chance=_chance(shortest, length, letters),
        solved=(Criterion("counted", 0.99, above=True),),
        bits=float(np.log2(length + 1 - shortest)),
        scores=Scores(scores.nats, _metrics),
    )


def _metrics(logits: Array, batch: Batch) -> Metrics:
    nats = scores.nats(logits, batch)
    right = (jnp.argmax(logits, axis=-1) == batch.targets).astype(jnp.float32)
    scored = scores.scored(batch)
    n = (scored & (batch.targets == 1)).sum(axis=0)
    asked = scored & (jnp.arange(len(nats))[:, None] > n)
    counted = ((nats < -np.log(SURE)) | ~asked).all(axis=0)
    return {
        "nats": scores.total(nats, batch),
        "accuracy": scores.total(right, batch),
        "counted": (counted.sum(dtype=jnp.float32), jnp.float32(counted.size)),
    }


def _chance(shortest: int, longest: int, letters: int) -> dict[str, float]:
    """Every metric of the predictor that gives each position's marginal distribution over the symbols."""
    n = np.arange(shortest, longest + 1)[:, None]
    t = np.arange(letters * longest + 1)
    target = np.where(t < letters * n, 1 + t // n, 0)
    real = t <= letters * n
    count = ((target[..., None] == np.arange(letters + 1)) & real[..., None]).sum(0)
    share = count / count.sum(1, keepdims=True)
    given = np.take_along_axis(share, target.T, 1).T
    return {
        "nats": float(-np.log(given[real]).mean()),
        "accuracy": float(count.max(1).sum() / count.sum()),
        "counted": float(((given > SURE) | (t <= n) | ~real).all(1).mean()),
    }
