"""Modular arithmetic in brackets, drawn and evaluated on the device: the grammar of Deletang et al. 2023.

An expression of a given length is d, -d, (d) or (-d) up to four symbols, and beyond (left op right) with the
length of `left` drawn evenly. What of it is still to be written is a stack of lengths and symbols; each step
takes the topmost, writes ONE symbol and puts back what that leaves: a scan of as many steps as there are
symbols, whatever tree they make. A second scan reads the symbols with a stack of linear functions, "what the
open bracket will do with its next operand", and gives the value.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.notation import Array, Key

__all__ = ["CLOSE", "MINUS", "MODULUS", "OPEN", "PLUS", "TIMES", "draw", "entropies", "evaluate", "values"]

MODULUS = 5
"""Of the arithmetic, as in the paper."""
PLUS, MINUS, TIMES, OPEN, CLOSE = range(MODULUS, MODULUS + 5)
"""Tokens; below them the digits."""
_LONGEST_LEAF = 4


def draw(key: Key, n: Array, length: int, operators: int) -> Array:
    """[length] tokens, an expression of n symbols and zeros behind it.

    Args:
      key: of the draw.
      n: symbols of the expression, 1 to `length`.
      length: static.
      operators: 3: + - *; 2: + and - alone.
    """
    digits, choices, splits = jax.random.split(key, 3)
    digit = jax.random.randint(digits, (length,), 0, MODULUS)
    operator = jax.random.randint(choices, (length,), PLUS, PLUS + operators)
    split = jax.random.uniform(splits, (length,))

    def write(state: tuple[Array, Array], now: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
        stack, height = state  # a length to expand is above 0, a symbol to write is -1 - symbol
        new_digit, new_operator, share = now
        base = jnp.maximum(height - 1, 0)
        item = jnp.where(height > 0, stack[base], 0)
        left = 1 + jnp.minimum((share * (item - _LONGEST_LEAF)).astype(jnp.int32), item - 5)
        close = jnp.int32(-1 - CLOSE)
        tree = jnp.stack([close, item - 3 - left, -1 - new_operator, left])  # the last one is topmost
        leaf = jnp.stack([close, item - 2, 0, 0])  # (d) or (-d)
        signed = jnp.array([1, 0, 0, 0])
        left_over = jnp.select([item > _LONGEST_LEAF, item > 2, item == 2], [tree, leaf, signed], 0)
        count = jnp.select([item > _LONGEST_LEAF, item > 2, item == 2], [4, 2, 1], 0)
        symbol = jnp.select([item < 0, item <= 1, item == 2], [-1 - item, new_digit, MINUS], OPEN)
        stack = jax.lax.dynamic_update_slice(stack, left_over.astype(jnp.int32), (base,))
        return (stack, base + count), jnp.where(height > 0, symbol, 0)

    stack = jnp.zeros(length + 8, jnp.int32).at[0].set(n)
    _, tokens = jax.lax.scan(write, (stack, jnp.int32(1)), (digit, operator, split))
    return tokens


def evaluate(tokens: Array) -> Array:
    """[T] values modulo 5: at the last symbol of an expression, its value; elsewhere they mean nothing.

    Args:
      tokens: [T].
    """
    depth = len(tokens) // 3 + 2
    place = jnp.arange(depth)

    def read(state: tuple[Array, ...], token: Array) -> tuple[tuple[Array, ...], Array]:
        slope, start, level, value, waiting = state  # x -> slope x + start, for each open bracket
        here, below = place == level, place == level - 1
        closes = token == CLOSE
        operand = jnp.where(closes, value, token)
        of = jnp.where(closes, below, here)
        complete = (of * (slope * operand + start)).sum() % MODULUS
        ends = closes | (token < MODULUS)
        new_value = jnp.where(ends, complete, value)
        negates = (token == MINUS) & waiting
        operates = (token >= PLUS) & (token <= TIMES) & ~waiting
        new_slope = jnp.select([token == PLUS, token == MINUS], [1, MODULUS - 1], value)
        new_start = jnp.where(token == TIMES, 0, value)
        opens = (token == OPEN) & (place == level + 1)
        slope = jnp.where(here & negates, -slope % MODULUS, jnp.where(here & operates, new_slope, slope))
        start = jnp.where(here & operates, new_start, start)
        slope, start = jnp.where(opens, 1, slope), jnp.where(opens, 0, start)
        level = level + (token == OPEN) - closes
        return (slope, start, level, new_value, ~ends), new_value

    first: tuple[Array, ...] = (
        jnp.ones(depth, jnp.int32),
        jnp.zeros(depth, jnp.int32),
        jnp.int32(0),
        jnp.int32(0),
        jnp.bool_(True),
    )
    return jax.lax.scan(read, first, tokens)[1]


def values(length: int) -> list[np.ndarray]:
    """The distribution [5] of the value of an expression of n symbols, n = 0 to `length`, with + - *."""
    found = np.full((length + 1, MODULUS), 1 / MODULUS)
    left, right = np.indices((MODULUS, MODULUS))
    for n in range(_LONGEST_LEAF + 1, length + 1):
        joint = found[1 : n - 3].T @ found[n - 4 : 0 : -1] / (n - 4)
        found[n] = 0
        for value in (left + right, left - right, left * right):
            found[n] += np.bincount((value % MODULUS).ravel(), joint.ravel() / 3, MODULUS)
    return list(found)


def entropies(length: int, operators: int) -> tuple[np.ndarray, np.ndarray]:
    """The bits, and the mean number of digits, of an expression of n symbols, n = 0 to `length`."""
    bits, digits = np.full(length + 1, math.log2(MODULUS)), np.ones(length + 1)
    for n in range(_LONGEST_LEAF + 1, length + 1):
        bits[n] = math.log2(n - 4) + math.log2(operators) + 2 * bits[1 : n - 3].mean()
        digits[n] = 2 * digits[1 : n - 3].mean()
    return bits, digits
