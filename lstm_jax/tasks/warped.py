"""Warped sequences: remember the character before this one, however slowly time runs.

Tallec & Ollivier 2018, section 3 ("pure warpings and paddings"): the task is trivial but for the warp. A
leaky unit survives a uniform warp, because it can be as slow; a variable one only gates survive, which decide
when time has passed. The initialisation by `chrono` comes from here.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.notation import Key
from lstm_jax.support.registry import check_name
from lstm_jax.tasks.base import Criterion
from lstm_jax.tasks.generated import Example, Generator, check

__all__ = ["warped"]


def warped(
    *,
    length: int = 10,
    warp: str = "variable",
    form: str = "repeat",
    characters: int = 8,
    alphabet: int = 10,
) -> Generator:
    """A random text with every character drawn out; at every step the character before this one is asked for.

    Tokens: 0 padding, then the alphabet; T = characters * length. A character is never the one before it, so
    that the text can be told from its warped form. Scored from the second character on. Chance: the
    character before is uniform at every step: ln(alphabet) nats, 1/alphabet right. Solved: 99 % right.

    Args:
      length: steps that a character takes: the longest warp.
      warp: uniform: every character takes `length` steps; variable: 1 to `length`, drawn for each.
      form: repeat: the character is repeated; pad: it stands once, padding follows.
      characters: characters of a sequence, at least; a variable warp has room for more.
      alphabet: kinds of characters.

    Raises:
      UserError: an impossible argument.
    """
    check("length", length, 1)
    check("characters", characters, 2)
    check("alphabet", alphabet, 2)
    check_name(warp, ("uniform", "variable"), "warp")
    check_name(form, ("repeat", "pad"), "form of a warp")
    steps = characters * length
    most = steps if warp == "variable" else characters

    def draw(key: Key) -> Example:
        first, text, spans = jax.random.split(key, 3)
        move = jax.random.randint(text, (most,), 1, alphabet)
        character = (jax.random.randint(first, (), 0, alphabet) + jnp.cumsum(move)) % alphabet
        span = jnp.full(most, length)
        if warp == "variable":
            span = jax.random.randint(spans, (most,), 1, length + 1)
        end = jnp.cumsum(span)
        t = jnp.arange(steps)
        now = jnp.searchsorted(end, t, side="right")  # number of the character at each step
        inputs = 1 + character[now]
        if form == "pad":
            inputs = jnp.where(t == (end - span)[now], inputs, 0)
        return Example(inputs, character[now - 1], (now > 0).astype(jnp.float32))

    return Generator(
        draw,
        steps=steps,
        vocab=1 + alphabet,
        outputs=alphabet,
        chance={"nats": math.log(alphabet), "accuracy": 1 / alphabet},
        solved=(Criterion("accuracy", 0.99, above=True),),
        bits=_bits(steps, length, warp, alphabet),
    )


def _bits(steps: int, length: int, warp: str, alphabet: int) -> float:
    """The entropy of a sequence: of its characters, and of where they begin.

    The age of a character is a Markov chain: at age a of `length` it ends with probability
    1 / (length + 1 - a).
    """
    if warp == "uniform":
        return math.log2(alphabet) + (steps // length - 1) * math.log2(alphabet - 1)
    ends = 1 / (length + 1 - np.arange(1, length + 1))
    surprise = [-p * math.log2(p) - (1 - p) * math.log2(1 - p) if p < 1 else 0.0 for p in ends]
    age = np.zeros(length)
    age[0] = 1.0
    bits = math.log2(alphabet)
    for _ in range(steps - 1):
        over = age * ends
        bits += float(age @ surprise) + over.sum() * math.log2(alphabet - 1)
        age = np.concatenate([[over.sum()], (age - over)[:-1]])
    return bits
