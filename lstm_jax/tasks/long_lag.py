"""Long time lags: two sets of sequences that differ in one early element, which comes again at the end.

Experiments 2a to 2c of Hochreiter & Schmidhuber 1997 (5.2). In 2a all that lies between is the same every
time; in 2b it is noise; in 2c moreover the end is not where it was, and only a trigger tells of it.
"""

import math

import jax
import jax.numpy as jnp

from lstm_jax.support.notation import Array, Key
from lstm_jax.tasks import scores
from lstm_jax.tasks.base import Batch, Criterion, Metrics, Scores
from lstm_jax.tasks.generated import Example, Generator, check

__all__ = ["long_lag_2a", "long_lag_2b", "long_lag_2c"]


def long_lag_2a(*, length: int = 50) -> Generator:
    """Noise-free long lags (Hochreiter & Schmidhuber 1997, 5.2, experiment 2a).

    With p = length, one of two sequences, (y, a_1, a_2, ..., a_{p-1}, y) or (x, a_1, a_2, ..., a_{p-1}, x),
    each with probability 1/2. Every next element is to be predicted; all but the last are known, and the
    last is the first, p steps ago. Tokens: a_i is i - 1, x is p - 1, y is p; T = p, V = O = p + 1.

    Chance: all is known by the step but the last, ln 2 / p nats a step and 1 - 1/(2p) right; at the last
    (`last_accuracy`) 1/2. Solved: every prediction right.

    Args:
      length: the lag p, in steps.

    Raises:
      UserError: an impossible length.
    """
    check("length", length, 2)

    def draw(key: Key) -> Example:
        first = length - 1 + jax.random.randint(key, (1,), 0, 2)
        between = jnp.arange(length - 1)
        return Example(jnp.concatenate([first, between]), jnp.concatenate([between, first]))

    return Generator(
        draw,
        steps=length,
        vocab=length + 1,
        outputs=length + 1,
        chance={"nats": math.log(2) / length, "accuracy": 1 - 0.5 / length, "last_accuracy": 0.5},
        solved=(Criterion("accuracy", 1.0, above=True),),
        bits=1.0,
        scores=Scores(scores.nats, _count),
    )


def long_lag_2b(*, length: int = 50) -> Generator:
    """Long lags without local regularities (Hochreiter & Schmidhuber 1997, 5.2, experiment 2b).

    As 2a, but each of the p - 1 elements between is drawn anew from a_1 ... a_{p-1}. Every next element is
    still to be predicted, and only the last can be.

    Chance: ln(p - 1) nats at each of p - 1 steps and ln 2 at the last, over p; so it is with the share of
    right ones, 1/(p - 1) each and 1/2 (`last_accuracy`). Solved: 99 % right at the last step. The nats cannot
    fall below (p - 1) ln(p - 1) / p.

    Args:
      length: the lag p, in steps.

    Raises:
      UserError: an impossible length.
    """
    check("length", length, 3)
    kinds = length - 1

    def draw(key: Key) -> Example:
        which, noise = jax.random.split(key)
        first = kinds + jax.random.randint(which, (1,), 0, 2)
        between = jax.random.randint(noise, (kinds,), 0, kinds)
        return Example(jnp.concatenate([first, between]), jnp.concatenate([between, first]))

    return Generator(
        draw,
        steps=length,
        vocab=length + 1,
        outputs=length + 1,
        chance={
            "nats": (kinds * math.log(kinds) + math.log(2)) / length,
            "accuracy": (1 + 0.5) / length,
            "last_accuracy": 0.5,
        },
        solved=(Criterion("last_accuracy", 0.99, above=True),),
        bits=1 + kinds * math.log2(kinds),
        scores=Scores(scores.nats, _count),
    )


def _count(logits: Array, batch: Batch) -> Metrics:
    """Nats and accuracy of all steps, and the accuracy of the last."""
    last = (jnp.arange(len(batch.targets)) == len(batch.targets) - 1).astype(jnp.float32)
    end = batch._replace(weights=jnp.broadcast_to(last[:, None], batch.targets.shape))
    every, at_end = scores.classes.metrics(logits, batch), scores.classes.metrics(logits, end)
    return every | {"last_accuracy": at_end["accuracy"]}


def long_lag_2c(*, length: int = 50, distractors: int = 50, suffix: int = 50) -> Generator:
    """Very long lags, noise, and an end that varies (Hochreiter & Schmidhuber 1997, 5.2, experiment 2c).

    With q = length: (b, y, a_{i_1}, ..., a_{i_{q+k}}, e, y) or the same with x for y, each with probability
    1/2; the q + k distractors are drawn from a_1 ... a_p, p = `distractors`, and after the first q of them
    each next element is the trigger e with probability 1/10, else one more distractor: k is geometric. Only
    the prediction at e, of x or y, is scored. Tokens: b, e, x, y are 0 to 3, then the distractors; O = 2
    (x, y). The second element is held for q + 1 steps and more.

    The paper's k has no bound; here k = `suffix` takes all that is longer (0.9^50, one sequence in 194).
    T = length + suffix + 3.

    Chance: ln 2 nats and 1/2 right. Solved: 99 % right (the paper: 10,000 in a row).

    Args:
      length: q, least distractors between the element and the trigger.
      distractors: p, their kinds. The paper has p from q down to q / 20: the fewer, the oftener each comes.
      suffix: most distractors beyond q.

    Raises:
      UserError: an impossible length or number.
    """
    check("length", length, 1)
    check("distractors", distractors, 1)
    check("suffix", suffix, 0)
    total = length + suffix + 3

    def draw(key: Key) -> Example:
        which, noise, end = jax.random.split(key, 3)
        answer = jax.random.randint(which, (), 0, 2)
        more = jax.random.bernoulli(end, 0.9, (suffix,))
        k = jnp.cumprod(more.astype(jnp.int32)).sum()
        trigger = length + k + 2  # its step
        step = jnp.arange(total)
        inputs = 4 + jax.random.randint(noise, (total,), 0, distractors)
        inputs = inputs.at[0].set(0).at[1].set(2 + answer)
        inputs = jnp.where(step == trigger, 1, inputs)
        weights = (step == trigger).astype(jnp.float32)
        return Example(inputs, jnp.full(total, answer), weights, trigger + 1)

    ends = [0.1 * 0.9**k for k in range(suffix)] + [0.9**suffix]
    expected = sum(k * p for k, p in enumerate(ends))
    return Generator(
        draw,
        steps=total,
        vocab=4 + distractors,
        outputs=2,
        chance={"nats": math.log(2), "accuracy": 0.5},
        solved=(Criterion("accuracy", 0.99, above=True),),
        bits=1 + (length + expected) * math.log2(distractors) - sum(p * math.log2(p) for p in ends),
    )
