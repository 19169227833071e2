"""Dyck-(k, m): balanced brackets of k kinds, nested at most m deep: which bracket closes here?

A stack in the state of the network. Suzgun et al. 2019 (LSTMs on Dyck languages), Hewitt et al. 2020 (bounded
depth suffices for language, and needs m log k bits; the measure of closing brackets is theirs).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key
from lstm_jax.tasks import scores
from lstm_jax.tasks.base import Batch, Criterion, Metrics, Scores
from lstm_jax.tasks.generated import Example, Generator, check

__all__ = ["dyck"]

SURE = 0.8
"""Share of the closing brackets' probability that the right one must have (Hewitt et al. 2020, 5.2)."""


def dyck(*, length: int = 20, kinds: int = 2, depth: int = 3) -> Generator:
    """A balanced string of `length` brackets, uniform among those of that depth; each bracket is predicted.

    Inputs: 0 the start, 1 .. k opening, k+1 .. 2k closing brackets; classes: one less, without the start.
    T = length. Metrics:
      nats, accuracy: of the bracket that comes.
      closing: over the steps at which a bracket closes, the share in which the right kind has more than 0.8
        of the probability of all closing ones. Hewitt et al. ask it at every step with an open bracket, and
        report it by the distance to that bracket; their figures are not comparable.
    Chance: with q_t the share of strings whose step t opens, the kinds being uniform, the mean over t of
    H(q_t) + ln k nats and of max(q_t, 1 - q_t) / k right; no kind of closing bracket is ever sure.
    Solved: 99 % of the closing brackets.

    Args:
      length: brackets of a string, even; how long a bracket may stay open.
      kinds: k, two at least.
      depth: m.

    Raises:
      UserError: an impossible argument.
    """
    check("length", length, 2)
    check("kinds", kinds, 2)
    check("depth", depth, 1)
    if length % 2:
        raise UserError(f"task.length={length} is not possible: brackets come in pairs: it must be even")
    opens, shares, paths = _walk(length, depth)
    probability = jnp.asarray(opens, jnp.float32)

    def draw(key: Key) -> Example:
        which, walk = jax.random.split(key)
        kind = jax.random.randint(which, (length,), 0, kinds)

        def step(state: tuple[Array, Array], now: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
            level, stack = state
            u, p, new = now
            opening = u < p[level]
            stack = jnp.where(opening & (jnp.arange(depth) == level), new, stack)
            symbol = jnp.where(opening, new, kinds + stack[level - 1])
            return (level + jnp.where(opening, 1, -1), stack), symbol

        start = (jnp.int32(0), jnp.zeros(depth, kind.dtype))
        _, targets = jax.lax.scan(step, start, (jax.random.uniform(walk, (length,)), probability, kind))
        inputs = jnp.concatenate([jnp.zeros(1, targets.dtype), 1 + targets[:-1]])
        return Example(inputs, targets)

    entropy = [float(-(q * np.log(q) + (1 - q) * np.log(1 - q))) if 0 < q < 1 else 0.0 for q in shares]
    return Generator(
        draw,
        steps=length,
        vocab=2 * kinds + 1,
        outputs=2 * kinds,
        chance={
            "nats": float(np.mean(entropy)) + math.log(kinds),
            "accuracy": float(np.maximum(shares, 1 - shares).mean()) / kinds,
            "closing": 0.0,
        },
        solved=(Criterion("closing", 0.99, above=True),),
        bits=paths + length / 2 * math.log2(kinds),
        scores=Scores(scores.nats, _metrics(kinds)),
    )


def _walk(length: int, depth: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The uniform distribution over walks from 0 to 0 of `length` steps within 0 .. depth.

    The number of ways home from each level, counted back from the end, gives each step its probability. They
    are rescaled at every step: only their ratios matter, and they grow like 2^length.

    Returns:
      [length, depth + 1] probability of a step up from each level, [length] share of walks that go up at
      each step, and log2 of the number of walks.
    """
    ways = np.zeros(depth + 3)  # a level below 0 and one above `depth` from which there is no way
    ways[1] = 1.0
    opens = np.zeros((length, depth + 1))
    log_scale = 0.0
    for t in reversed(range(length)):
        up, down = ways[2:].copy(), ways[:-2].copy()
        total = up + down
        opens[t] = np.where(total > 0, up / np.where(total > 0, total, 1.0), 0.0)
        log_scale += math.log2(total.max())
        ways[1:-1] = total / total.max()
    level = np.zeros(depth + 1)
    level[0] = 1.0
    shares = np.zeros(length)
    for t in range(length):
        up = level * opens[t]
        shares[t] = up.sum()
        down = level - up
        level = np.concatenate([down[1:], [0.0]])
        level[1:] += up[:-1]
    return opens, shares, log_scale + math.log2(ways[1])


def _metrics(kinds: int) -> Callable[[Array, Batch], Metrics]:
    def metrics(logits: Array, batch: Batch) -> Metrics:
        logits = logits.astype(jnp.float32)
        right = (jnp.argmax(logits, axis=-1) == batch.targets).astype(jnp.float32)
        closing = batch.targets >= kinds
        among = jax.nn.log_softmax(logits[..., kinds:], axis=-1)
        given = jnp.take_along_axis(among, jnp.maximum(batch.targets - kinds, 0)[..., None], -1)[..., 0]
        sure = given > math.log(SURE)
        return {
            "nats": scores.total(scores.nats(logits, batch), batch),
            "accuracy": scores.total(right, batch),
            "closing": ((sure & closing).sum(dtype=jnp.float32), closing.sum(dtype=jnp.float32)),
        }

    return metrics
