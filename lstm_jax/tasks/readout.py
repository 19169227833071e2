"""How tasks of drawn lengths ask: one class at the last step, or symbols at blank steps behind the input.

As in Deletang et al. 2023 (Neural Networks and the Chomsky Hierarchy). And what the best predictor gets that
knows the step t alone, from the exact table of what is asked when.
"""

from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np

from lstm_jax.support.notation import Array
from lstm_jax.tasks.base import Criterion
from lstm_jax.tasks.generated import Example

__all__ = ["SOLVED", "answered", "asked_at_end", "blind", "blind_answers", "blind_at_end", "entropy_bits"]

SOLVED = (Criterion("accuracy", 0.99, above=True),)
"""When such a task counts as solved: 99 % of what is asked."""


def asked_at_end(inputs: Array, n: Array, target: Array) -> Example:
    """One class, asked at the last of the n real steps.

    Args:
      inputs: [T] tokens.
      n: steps that are real.
      target: the class, or [T] classes of which the last real one counts.
    """
    last = jnp.arange(len(inputs)) == n - 1
    return Example(inputs, jnp.broadcast_to(target, inputs.shape), last.astype(jnp.float32), n)


def answered(source: Array, n: Array, answer: Array, m: Array, end: int) -> Example:
    """An example of n steps of input, then, asked at blank steps, m symbols of an answer and a terminator.

    T = N + M + 1. The blank is token 0, also behind the end, so `source` has no 0.

    Args:
      source: [N] tokens from 1 up; those from n on do not matter.
      n: steps of the input.
      answer: [M] classes; those from m on do not matter.
      m: symbols of the answer.
      end: the terminator's class.
    """
    t = jnp.arange(len(source) + len(answer) + 1)
    place = t - n
    inputs = jnp.where(place < 0, source[jnp.minimum(t, len(source) - 1)], 0)
    targets = jnp.where(place < m, answer[jnp.clip(place, 0, len(answer) - 1)], end)
    asked = (place >= 0) & (place <= m)
    return Example(inputs.astype(jnp.int32), targets, asked.astype(jnp.float32), n + m + 1)


def blind(mass: np.ndarray) -> dict[str, float]:
    """Nats and accuracy of the best predictor that knows the step alone.

    Args:
      mass: [T, O], how often class k is asked at step t, up to one common factor.
    """
    at_step = mass.sum(1, keepdims=True)
    share = np.divide(mass, at_step, out=np.ones_like(mass), where=mass > 0)
    return {
        "nats": float(-(mass * np.log(share)).sum() / mass.sum()),
        "accuracy": float(mass.max(1).sum() / mass.sum()),
    }


def blind_at_end(shares: Iterable[tuple[int, np.ndarray]]) -> dict[str, float]:
    """`blind`, where one class is asked at the last step.

    Args:
      shares: for each equally likely length, the number of real steps n and the distribution [O] of the
        class.
    """
    found = list(shares)
    mass = np.zeros((max(n for n, _ in found), len(found[0][1])))
    for n, share in found:
        mass[n - 1] += share
    return blind(mass)


def blind_answers(lengths: tuple[int, int], shares: Iterable[np.ndarray]) -> dict[str, float]:
    """`blind`, where symbols are asked from step n on.

    Args:
      lengths: the least and the most n.
      shares: for each n the table [M + 1, O] of how likely place j of the answer is class k; a row sums to
        the probability that the answer is as long.
    """
    tables = list(shares)
    mass = np.zeros((lengths[1] + max(map(len, tables)), tables[0].shape[1]))
    for n, table in zip(range(lengths[0], lengths[1] + 1), tables, strict=True):
        mass[n : n + len(table)] += table
    return blind(mass)


def entropy_bits(values: Iterable[int]) -> float:
    """The entropy in bits of equally likely values some of which may be equal, as rounding leaves them."""
    _, counts = np.unique(list(values), return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum())
