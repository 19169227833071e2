"""The deterministic context-free tasks of Deletang et al. 2023: a stack solves each.

Every sequence has its own length, `shortest` to `length` symbols of input evenly; Deletang et al. train on 1
to 40 and test on 41 to 500. Where several symbols are asked, they follow at blank steps, and a terminator
with them.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.notation import Array, Key
from lstm_jax.tasks import expressions
from lstm_jax.tasks.generated import Example, Generator, check
from lstm_jax.tasks.readout import SOLVED, answered, asked_at_end, blind_answers, blind_at_end

__all__ = ["modular_arithmetic_brackets", "reverse_string", "solve_equation", "stack_manipulation"]

END = 2
"""The class of the terminator behind answers of bits."""


def reverse_string(*, length: int = 40, shortest: int = 1) -> Generator:
    """The input has n bits; then, at blank steps, the same from the last to the first, and the terminator.

    Tokens: 0 blank, 1 and 2 the bits; classes: 0, 1, and 2 the terminator. T = 2 length + 1. (The paper asks
    for no terminator here.) Chance: the bits are even, and when the answer is over is known as far as the
    step tells it. Solved: 99 % right.

    Args:
      length: most bits of the input.
      shortest: fewest.

    Raises:
      UserError: an impossible length, or shortest beyond it.
    """
    check("length", length, 1)
    check("shortest", shortest, 1, length)

    def draw(key: Key, n: Array) -> Example:
        bits = jax.random.randint(key, (length,), 0, 2)
        back = bits[jnp.maximum(n - 1 - jnp.arange(length), 0)]
        return answered(1 + bits, n, back, n, END)

    lengths = range(shortest, length + 1)
    bits, over = np.array([0.5, 0.5, 0]), np.array([0, 0, 1.0])
    return Generator(
        draw,
        steps=2 * length + 1,
        vocab=3,
        outputs=3,
        chance=blind_answers((shortest, length), (np.array([bits] * n + [over]) for n in lengths)),
        solved=SOLVED,
        bits=(shortest + length) / 2 + math.log2(len(lengths)),
        lengths=(shortest, length),
    )


def stack_manipulation(*, length: int = 40, shortest: int = 1) -> Generator:
    """A stack of bits from the bottom up, then POPs and PUSHes; what is the stack then, from the top down?

    Of n symbols the first 1 to n - 1, evenly, are the stack's (of one symbol, all), the others are actions,
    each of three alike: POP, which does nothing to an empty stack, PUSH 0, PUSH 1. Tokens: 0 blank, 1 and 2
    the bits, 3 POP, 4 and 5 PUSH; classes: 0, 1, and 2 the terminator. T = 2 length + 1.
    Chance: the bits are even; the exact distribution of the stack's height says when the answer is over.
    Solved: 99 % right.

    Args:
      length: most symbols of the input.
      shortest: fewest.

    Raises:
      UserError: an impossible length, or shortest beyond it.
    """
    check("length", length, 1)
    check("shortest", shortest, 1, length)

    def draw(key: Key, n: Array) -> Example:
        share, which, action = jax.random.split(key, 3)
        held = jax.random.randint(share, (), 1, jnp.maximum(n, 2))
        bits = jax.random.randint(which, (length,), 0, 2)
        pops = (jax.random.randint(action, (length,), 0, 3) == 0) & (jnp.arange(length) >= held)

        def act(state: tuple[Array, Array], now: tuple[Array, ...]) -> tuple[tuple[Array, Array], None]:
            stack, height = state
            bit, pop, t = now
            pushed = jnp.where(jnp.arange(length) == height, bit, stack)
            new = jnp.where(pop, stack, pushed), jnp.maximum(height + jnp.where(pop, -1, 1), 0)
            return jax.tree.map(lambda after, before: jnp.where(t < n, after, before), new, state), None

        start = (jnp.zeros(length, bits.dtype), jnp.int32(0))
        (stack, height), _ = jax.lax.scan(act, start, (bits, pops, jnp.arange(length)))
        source = jnp.where(jnp.arange(length) < held, 1 + bits, jnp.where(pops, 3, 4 + bits))
        return answered(source, n, stack[jnp.maximum(height - 1 - jnp.arange(length), 0)], height, END)

    heights = _heights(length)
    lengths = range(shortest, length + 1)

    def table(n: int) -> np.ndarray:
        exactly = heights[n][: n + 1]
        deeper = exactly[::-1].cumsum()[::-1] - exactly
        return np.stack([deeper / 2, deeper / 2, exactly], 1)

    def entropy(n: int) -> float:
        return 1 if n == 1 else math.log2(n - 1) + n / 2 + n / 2 * math.log2(3)

    return Generator(
        draw,
        steps=2 * length + 1,
        vocab=6,
        outputs=3,
        chance=blind_answers((shortest, length), map(table, lengths)),
        solved=SOLVED,
        bits=float(np.mean([entropy(n) for n in lengths])) + math.log2(len(lengths)),
        lengths=(shortest, length),
    )


def _heights(length: int) -> np.ndarray:
    """[length + 1, length + 1]: row n is the distribution of the height of the stack behind n symbols."""
    found = np.zeros((length + 1, length + 1))
    found[1, 1] = 1
    summed = np.zeros(length + 1)  # over how many symbols the stack had, of the distribution of its height
    for n in range(2, length + 1):
        summed[n - 1] += 1
        after = np.zeros_like(summed)
        after[1:] += summed[:-1] * 2 / 3
        after[:-1] += summed[1:] / 3
        after[0] += summed[0] / 3
        summed = after
        found[n] = summed / (n - 1)
    return found


def modular_arithmetic_brackets(*, length: int = 40, shortest: int = 1) -> Generator:
    """What is the value, modulo 5, of an expression with + - * and brackets? Asked at its last symbol.

    Tokens: the digits 0 to 4, then + - * ( ). T = length, V = 10, O = 5. How it is drawn and evaluated on the
    device: `expressions`. Chance: the exact distribution of the value. Solved: 99 % right.

    Args:
      length: most symbols of an expression.
      shortest: fewest.

    Raises:
      UserError: an impossible length, or shortest beyond it.
    """
    check("length", length, 1)
    check("shortest", shortest, 1, length)

    def draw(key: Key, n: Array) -> Example:
        tokens = expressions.draw(key, n, length, 3)
        return asked_at_end(tokens, n, expressions.evaluate(tokens))

    lengths = range(shortest, length + 1)
    values, (bits, _) = expressions.values(length), expressions.entropies(length, 3)
    return Generator(
        draw,
        steps=length,
        vocab=expressions.CLOSE + 1,
        outputs=expressions.MODULUS,
        chance=blind_at_end((n, values[n]) for n in lengths),
        solved=SOLVED,
        bits=float(bits[shortest : length + 1].mean()) + math.log2(len(lengths)),
        lengths=(shortest, length),
    )


def solve_equation(*, length: int = 40, shortest: int = 3) -> Generator:
    """Which digit is x in an equation modulo 5, an expression with + - and brackets = its value?

    The expression is drawn and evaluated with all its digits (`expressions`), then one of them, each alike,
    is replaced by x, and = and the value are put behind. Without products x has the factor 1 or -1, so there
    is one solution. Tokens: those of `modular_arithmetic_brackets`, x, =. T = length, V = 12, O = 5.
    Chance: the digit is even, ln 5 nats and 1/5 right. Solved: 99 % right.

    Args:
      length: most symbols of an equation.
      shortest: fewest, 3 at least (x = 4).

    Raises:
      UserError: an impossible length, or shortest beyond it.
    """
    check("length", length, 3)
    check("shortest", shortest, 3, length)
    unknown, equals = expressions.CLOSE + 1, expressions.CLOSE + 2

    def draw(key: Key, n: Array) -> Example:
        drawing, choosing = jax.random.split(key)
        size, step = n - 2, jnp.arange(length)
        tokens = expressions.draw(drawing, size, length, 2)
        value = expressions.evaluate(tokens)[size - 1]
        digit = (tokens < expressions.MODULUS) & (step < size)
        chosen = jnp.argmax(jnp.where(digit, jax.random.uniform(choosing, (length,)), -1.0))
        inputs = jnp.where(step == chosen, unknown, tokens)
        inputs = jnp.where(step == size, equals, jnp.where(step == size + 1, value, inputs))
        return asked_at_end(inputs, n, tokens[chosen])

    lengths = range(shortest, length + 1)
    bits, digits = expressions.entropies(length, 2)
    own = (bits + np.log2(digits))[shortest - 2 : length - 1]
    return Generator(
        draw,
        steps=length,
        vocab=equals + 1,
        outputs=expressions.MODULUS,
        chance={"nats": math.log(expressions.MODULUS), "accuracy": 1 / expressions.MODULUS},
        solved=SOLVED,
        bits=float(own.mean()) + math.log2(len(lengths)),
        lengths=(shortest, length),
    )
