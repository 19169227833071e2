"""The regular tasks of Deletang et al. 2023 beside `parity`: a finite automaton solves each.

One class is asked at the last step. Every sequence has its own length, `shortest` to `length` steps evenly;
Deletang et al. train on 1 to 40 and test on 41 to 500.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.notation import Array, Key
from lstm_jax.tasks.generated import Example, Generator, check
from lstm_jax.tasks.readout import SOLVED, asked_at_end, blind_at_end, entropy_bits

__all__ = ["MODULUS", "cycle_navigation", "even_pairs", "modular_arithmetic"]

MODULUS = 5
"""Places on the circle, and the modulus of the arithmetic, as in the paper."""


def even_pairs(*, length: int = 40, shortest: int = 1) -> Generator:
    """Is the number of unequal neighbours (01 and 10) even? It is where the first bit is the last: class 1.

    T = length, V = 2, O = 2. Chance: ln 2 nats and 1/2 right for two bits and more; one bit is always even.
    Solved: 99 % right.

    Args:
      length: most bits of a sequence.
      shortest: fewest.

    Raises:
      UserError: an impossible length, or shortest beyond it.
    """
    check("length", length, 2)
    check("shortest", shortest, 1, length)

    def draw(key: Key, n: Array) -> Example:
        inputs = jax.random.randint(key, (length,), 0, 2)
        return asked_at_end(inputs, n, (inputs == inputs[0]).astype(jnp.int32))

    lengths = range(shortest, length + 1)
    return Generator(
        draw,
        steps=length,
        vocab=2,
        outputs=2,
        chance=blind_at_end((n, np.array([0.0, 1.0] if n == 1 else [0.5, 0.5])) for n in lengths),
        solved=SOLVED,
        bits=(shortest + length) / 2 + math.log2(len(lengths)),
        lengths=(shortest, length),
    )


def cycle_navigation(*, length: int = 40, shortest: int = 1) -> Generator:
    """Where does a walk on a circle of 5 places end? Tokens 0, 1, 2: a step back, none, a step forward.

    The walk starts at place 0, and the class is the place. T = length, V = 3, O = 5. Chance: the walk's exact
    distribution, near ln 5 nats and 1/5 right. Solved: 99 % right.

    Args:
      length: most steps of a walk.
      shortest: fewest.

    Raises:
      UserError: an impossible length, or shortest beyond it.
    """
    check("length", length, 1)
    check("shortest", shortest, 1, length)

    def draw(key: Key, n: Array) -> Example:
        inputs = jax.random.randint(key, (length,), 0, 3)
        return asked_at_end(inputs, n, jnp.cumsum(inputs - 1) % MODULUS)

    places = [np.eye(MODULUS)[0]]
    for _ in range(length):
        places.append(sum(np.roll(places[-1], move) for move in (-1, 0, 1)) / 3)
    lengths = range(shortest, length + 1)
    return Generator(
        draw,
        steps=length,
        vocab=3,
        outputs=MODULUS,
        chance=blind_at_end((n, places[n]) for n in lengths),
        solved=SOLVED,
        bits=(shortest + length) / 2 * math.log2(3) + math.log2(len(lengths)),
        lengths=(shortest, length),
    )


def modular_arithmetic(*, length: int = 40, shortest: int = 1) -> Generator:
    """What is the value, modulo 5, of digits with +, - and * between them? Products come before sums.

    Tokens: the digits 0 to 4, then + - *. A length is rounded down to an odd one. V = 8, O = 5. The value is
    that of one scan from left to right with the sum so far and the product that is not yet in it.
    Chance: the exact distribution of the value, by a Markov chain over sum and product. Solved: 99 % right.

    Args:
      length: most symbols of an expression.
      shortest: fewest.

    Raises:
      UserError: an impossible length, or shortest beyond it.
    """
    check("length", length, 1)
    check("shortest", shortest, 1, length)
    steps = _odd(length)

    def draw(key: Key, n: Array) -> Example:
        digits, operators = jax.random.split(key)
        digit = jax.random.randint(digits, (steps,), 0, MODULUS)
        operator = jax.random.randint(operators, (steps,), MODULUS, MODULUS + 3)
        inputs = jnp.where(jnp.arange(steps) % 2 == 0, digit, operator)

        def read(state: tuple[Array, Array], token: Array) -> tuple[tuple[Array, Array], Array]:
            total, product = state
            parts = (token == MODULUS) | (token == MODULUS + 1)
            total = jnp.where(parts, total + product, total) % MODULUS
            factor = jnp.where(token < MODULUS, token, 1)
            product = jnp.where(parts, jnp.where(token == MODULUS, 1, -1), product * factor) % MODULUS
            return (total, product), (total + product) % MODULUS

        _, values = jax.lax.scan(read, (jnp.int32(0), jnp.int32(1)), inputs)
        return asked_at_end(inputs, (n - 1) // 2 * 2 + 1, values)

    lengths = [_odd(n) for n in range(shortest, length + 1)]
    values = _values((steps + 1) // 2)
    each = math.log2(MODULUS)
    return Generator(
        draw,
        steps=steps,
        vocab=MODULUS + 3,
        outputs=MODULUS,
        chance=blind_at_end((n, values[n // 2]) for n in lengths),
        solved=SOLVED,
        bits=float(np.mean([(n // 2 + 1) * each + n // 2 * math.log2(3) for n in lengths]))
        + entropy_bits(lengths),
        lengths=(shortest, length),
    )


def _odd(n: int) -> int:
    """The odd number at or below n."""
    return (n - 1) // 2 * 2 + 1


def _values(digits: int) -> list[np.ndarray]:
    """The distribution [5] of the value of an expression of 1 to `digits` digits."""
    state = np.zeros((MODULUS, MODULUS))  # of (sum, product)
    state[0] = 1 / MODULUS
    total, product = (grid.ravel() for grid in np.indices(state.shape))
    found = []
    for _ in range(digits):
        found.append(np.bincount((total + product) % MODULUS, state.ravel(), MODULUS))
        after = np.zeros_like(state)
        for digit in range(MODULUS):
            for new in (
                ((total + product) % MODULUS, digit),
                ((total + product) % MODULUS, -digit % MODULUS),
                (total, product * digit % MODULUS),
            ):
                np.add.at(after, new, state.ravel() / (3 * MODULUS))  # type: ignore[arg-type]
        state = after
    return found
