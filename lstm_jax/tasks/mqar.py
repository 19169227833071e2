"""Multi-query associative recall (MQAR): every key of the context is asked for once, at its own distance.

Arora et al. 2023 (Zoology). Most keys are asked for soon, a few late: the gap between the context and a
query follows a power law.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Key
from lstm_jax.tasks.base import Criterion
from lstm_jax.tasks.generated import Example, Generator, check, check_real

__all__ = ["mqar"]


def mqar(
    *, length: int = 32, pairs: int = 4, vocab: int = 32, power: float = 0.01, noise: bool = False
) -> Generator:
    """`pairs` keys with their values, then each key again somewhere, where its value is asked for.

    Tokens: 0 blank, keys 1 .. vocab/2 - 1, values vocab/2 .. vocab - 1; neither comes twice. The context is
    2 pairs steps long; the query of a pair stands 2 g steps behind it, and the g, all different, are drawn
    one after the other with probability ~ (g + 1)^(power - 1) among those left. The classes are the values.
    Chance: by symmetry each value is equally likely at every query: ln(vocab/2) nats, 2/vocab right; who
    guesses one of the context's values is right once in `pairs`. Solved: 99 % right.

    Zoology's softmax is over all V tokens, keys too, and its filler is drawn from all of them; here the
    classes are the values, and `noise` draws values. Losses are not comparable.

    Args:
      length: T.
      pairs: K; 4 K <= length.
      vocab: V, even. Zoology's is 8192, with (length, pairs) = (64, 4), (128, 8), (256, 16), (512, 64).
      power: a of the gaps' law; 1: uniform, 0 and less: nearer still.
      noise: fill the other steps with random values instead of blanks.

    Raises:
      UserError: an impossible argument.
    """
    check_real("power", power)
    check("pairs", pairs, 1)
    check("length", length, 4 * pairs)
    check("vocab", vocab, 2 * pairs + 2)
    if vocab % 2:
        raise UserError(f"task.vocab={vocab} is not possible: half are keys, half values: it must be even")
    half, places = vocab // 2, length // 2 - pairs
    law = jnp.asarray((power - 1) * np.log(np.arange(1, places + 1)), jnp.float32)

    def draw(key: Key) -> Example:
        keys, values, gaps, filler = jax.random.split(key, 4)
        asked = 1 + jax.random.permutation(keys, half - 1)[:pairs].astype(jnp.int32)
        answer = jax.random.permutation(values, half)[:pairs].astype(jnp.int32)
        # Draws without replacement by weight are the largest weights with Gumbel noise, in their order.
        gap = jax.lax.top_k(law + jax.random.gumbel(gaps, (places,)), pairs)[1]
        where = 2 * pairs + 2 * gap
        inputs = jnp.zeros(length, jnp.int32)
        if noise:
            inputs = half + jax.random.randint(filler, (length,), 0, half, jnp.int32)
        context = jnp.stack([asked, half + answer], axis=1).ravel()
        inputs = inputs.at[: 2 * pairs].set(context).at[where].set(asked)
        targets = jnp.zeros(length, jnp.int32).at[where].set(answer)
        return Example(inputs, targets, jnp.zeros(length).at[where].set(1.0))

    return Generator(
        draw,
        steps=length,
        vocab=vocab,
        outputs=half,
        chance={"nats": math.log(half), "accuracy": 1 / half},
        solved=(Criterion("accuracy", 0.99, above=True),),
        # Of the gaps only that one arrangement exists at least; noise adds a value a filled step.
        bits=math.log2(math.perm(half - 1, pairs) * math.perm(half, pairs))
        + noise * (length - 3 * pairs) * math.log2(half),
        facts={"accuracy_within_context": 1 / pairs},
    )
