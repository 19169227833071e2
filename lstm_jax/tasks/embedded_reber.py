"""Embedded Reber grammar: which symbols may come next? The last but one is told by the second.

Hochreiter & Schmidhuber 1997, experiment 1. Most steps need two or three symbols of memory; the last but one
needs the branch that was chosen at the start, held over the whole string between. Left to itself the grammar
makes short strings (five symbols at least, eight on average); `least` makes only long ones, with the
grammar's own probabilities otherwise.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.notation import Array, Key
from lstm_jax.tasks import reber, scores
from lstm_jax.tasks.base import Batch, Criterion, Metrics, Scores
from lstm_jax.tasks.generated import Example, Generator, check, check_real

__all__ = ["embedded_reber", "lengths"]


def lengths(length: int, least: float) -> tuple[int, int]:
    """(shortest, longest) number of embedded symbols for the arguments of that name.

    Raises:
      UserError: an impossible argument.
    """
    check("length", length, reber.SHORTEST)
    check_real("least", least, 0, 1)
    return max(reber.SHORTEST, int(np.ceil(least * length))), length


def embedded_reber(*, length: int = 30, least: float = 0.0) -> Generator:
    """Strings of the embedded Reber grammar; every symbol after the first is predicted.

    Tokens: B T P S X V E. T = length + 3; shorter strings end earlier. Metrics, all over the real steps:
      nats, accuracy: of the symbol that comes. No predictor is right at every fork.
      recall: share of strings whose last symbol but one is told right: the long lag alone.
      strings: share of strings that are legal throughout: at every step every symbol that can follow ranks
        before every symbol that the grammar forbids (the criterion of 1997).
    Chance: the marginal distribution of the symbol at each position, by the grammar's Markov chain.
    Solved: 99 % of the strings legal throughout and 99 % recalled (1997: all of 256).

    Args:
      length: symbols of the longest string that is embedded; the lag between the second symbol and the last
        but one is at most one more.
      least: the shortest, as a share of `length`; 0: what the grammar gives, cut off at `length`.

    Raises:
      UserError: a length below 5, or a share that is none.
    """
    chain = reber.bounded(*lengths(length, least))
    steps = length + 3
    after, first, second = jnp.asarray(reber.NEXT), jnp.asarray(chain.first), jnp.asarray(chain.second)
    probability = jnp.asarray(chain.probability, jnp.float32)

    def draw(key: Key) -> Example:
        def step(state: Array, fork: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
            u, p = fork
            symbol = jnp.where(u < p[state], first[state], second[state])
            over = state == reber.END
            return jnp.where(over, state, after[state, symbol]), (symbol, over)

        forks = (jax.random.uniform(key, (steps + 1,)), probability)
        _, (symbols, over) = jax.lax.scan(step, jnp.int32(reber.START), forks)
        real = ~over[1:]
        return Example(symbols[:-1], symbols[1:], real.astype(jnp.float32), real.sum(dtype=jnp.int32))

    return Generator(
        draw,
        steps=steps,
        vocab=len(reber.SYMBOLS),
        outputs=len(reber.SYMBOLS),
        chance=_chance(chain),
        solved=(Criterion("strings", 0.99, above=True), Criterion("recall", 0.99, above=True)),
        bits=chain.bits,
        scores=Scores(scores.nats, _metrics(chain)),
        facts={"symbols": reber.SYMBOLS, "best_nats": _best_nats(chain)},
    )


def _ranks(logits: Array | np.ndarray, can: Array | np.ndarray, may: Array | np.ndarray) -> Array:
    """Whether all symbols that `can` follow rank before all that `may` not; no constant passes. [..., V]."""
    forbidden = jnp.where(may, -jnp.inf, logits).max(-1)
    worst = jnp.where(can, logits, jnp.inf).min(-1)
    best = jnp.where(can, logits, -jnp.inf).max(-1)
    return (worst >= forbidden) & (best > forbidden)


def _metrics(chain: reber.Chain) -> Callable[[Array, Batch], Metrics]:
    after, may = jnp.asarray(reber.NEXT), jnp.asarray(reber.NEXT >= 0)
    can = jnp.asarray(chain.symbols > 0)

    def metrics(logits: Array, batch: Batch) -> Metrics:
        logits = logits.astype(jnp.float32)

        def read(state: Array, symbol: Array) -> tuple[Array, Array]:
            state = after[state, symbol]  # past the end it is -1, the last state, where nothing is legal
            return state, state

        start = jnp.full(batch.inputs.shape[1], reber.START)
        _, state = jax.lax.scan(read, start, batch.inputs)
        position = jnp.arange(1, len(batch.inputs) + 1)[:, None]
        legal = _ranks(logits, can[position, state], may[state])
        right = (jnp.argmax(logits, axis=-1) == batch.targets).astype(jnp.float32)
        scored = scores.scored(batch)
        closing = scored & ((state == reber.CLOSING[0]) | (state == reber.CLOSING[1]))
        throughout = (legal | ~scored).all(axis=0)
        return {
            "nats": scores.total(scores.nats(logits, batch), batch),
            "accuracy": scores.total(right, batch),
            "recall": (jnp.where(closing, right, 0.0).sum(), closing.sum(dtype=jnp.float32)),
            "strings": (throughout.sum(dtype=jnp.float32), jnp.float32(throughout.size)),
        }

    return metrics


def _best_nats(chain: reber.Chain) -> float:
    """Nats a step of the predictor that knows the grammar: the entropy of the forks that are passed."""
    steps = (1 - chain.occupied[1:-1, reber.END]).sum()  # mean number of predicted symbols of a string
    return float(chain.bits * np.log(2) / steps)


def _chance(chain: reber.Chain) -> dict[str, float]:
    """Every metric of the predictor that gives each position's marginal distribution over the symbols."""
    occupied, symbols = chain.occupied[1:-1], chain.symbols[1:]  # before and at each predicted position
    share = np.einsum("ts,tsv->tv", occupied, symbols)
    logits = np.log(np.maximum(share, 1e-300) / share.sum(1, keepdims=True))
    real = share.sum()
    legal = np.asarray(_ranks(logits[:, None], symbols > 0, reber.NEXT >= 0)) & (symbols.sum(-1) > 0)
    throughout = occupied[0].copy()
    finished = 0.0
    for t in range(len(logits)):
        passed = (throughout * legal[t])[:, None] * symbols[t]
        throughout = np.zeros_like(throughout)
        np.add.at(throughout, reber.NEXT[reber.NEXT >= 0], passed[reber.NEXT >= 0])
        finished += throughout[reber.END]
        throughout[reber.END] = 0.0
    closing = list(reber.CLOSING)
    guessed = np.take_along_axis(symbols, logits.argmax(1)[:, None, None], 2)[:, closing, 0]
    return {
        "nats": float(-(share * logits).sum() / real),
        "accuracy": float(share.max(1).sum() / real),
        "recall": float((occupied[:, closing] * guessed).sum() / occupied[:, closing].sum()),
        "strings": float(finished),
    }
