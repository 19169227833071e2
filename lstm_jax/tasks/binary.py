"""The tasks of Deletang et al. 2023 on binary numbers: sum, product, square root; context-sensitive.

Numbers of up to hundreds of bits, drawn and computed on the device as arrays of bits. Every sequence has its
own length, `shortest` to `length` symbols of input evenly. All bits are fair (leading zeros occur), so an
answer is as long as its operands say; the paper draws likewise and cuts the leading zeros of sums and
products.
"""

import functools
import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.notation import Array, Key
from lstm_jax.tasks.generated import Example, Generator, check
from lstm_jax.tasks.readout import SOLVED, answered, blind_answers

__all__ = ["binary_addition", "binary_multiplication", "compute_sqrt"]

END = 2
"""The class of the terminator."""
OPERATOR = 3
"""The token between two operands."""


def binary_addition(*, length: int = 40, shortest: int = 3) -> Generator:
    """The sum of two binary numbers, the lowest bit first, at blank steps behind them, and a terminator.

    Of n symbols one is the +; the first operand has 1 to n - 2 bits evenly, the second the rest; the sum has
    a bit more than the longer one. Tokens: 0 blank, 1 and 2 the bits, 3 the +; classes: 0, 1, and 2 the
    terminator. Chance: all bits of the sum are even but the last, the carry: with m <= M bits it is 1 in
    (1 - 2^-m) 2^-(M - m) / 2 of the cases. Solved: 99 % right.

    Args:
      length: most symbols of the input, + included.
      shortest: fewest, 3 at least.

    Raises:
      UserError: an impossible length, or shortest beyond it.
    """

    def table(first: int, second: int) -> np.ndarray:
        m, most = sorted((first, second))
        carry = (1 - 2.0**-m) * 2.0 ** (m - most) / 2
        return np.append(np.full(most, 0.5), carry)

    return _of_operands(length, shortest, _add, lambda first, second: jnp.maximum(first, second) + 1, table)


def binary_multiplication(*, length: int = 40, shortest: int = 3) -> Generator:
    """The product of two binary numbers, the lowest bit first; all else is as in `binary_addition`.

    The product has as many bits as both operands together. It is the convolution of their bits, with the
    carries passed on by a scan. Chance: with m <= M bits, bit j < M is 1 in (1 - 2^-min(j + 1, m)) / 2 of the
    cases; the bits above are counted over all operands of up to 8 bits, and longer operands are taken to be
    like those of 8 (which is right to 0.005 in each bit's share). Solved: 99 % right.

    Args:
      length: most symbols of the input, the operator included.
      shortest: fewest, 3 at least.

    Raises:
      UserError: an impossible length, or shortest beyond it.
    """
    return _of_operands(length, shortest, _multiply, lambda first, second: first + second, _product_shares)


def _of_operands(
    length: int,
    shortest: int,
    compute: Callable[[Array, Array], Array],
    size: Callable[[Array, Array], Array],
    table: Callable[[int, int], np.ndarray],
) -> Generator:
    """The Generator of a task of two operands.

    Args:
      length, shortest: of the task.
      compute: (a, b [N] bits) -> [N] bits of the answer, the lowest first.
      size: (bits of the first, of the second operand) -> bits of the answer.
      table: the same -> [bits of the answer] how likely each of these is 1.
    """
    check("length", length, 3)
    check("shortest", shortest, 3, length)

    def draw(key: Key, n: Array) -> Example:
        one, other, share = jax.random.split(key, 3)
        first = jax.random.randint(share, (), 1, n - 1)
        second = n - 1 - first
        step = jnp.arange(length)
        a = jnp.where(step < first, jax.random.randint(one, (length,), 0, 2), 0)
        b = jnp.where(step < second, jax.random.randint(other, (length,), 0, 2), 0)
        tail = b[jnp.clip(step - first - 1, 0, length - 1)]
        source = jnp.where(step < first, 1 + a, jnp.where(step == first, OPERATOR, 1 + tail))
        return answered(source, n, compute(a, b)[: length - 1], size(first, second), END)

    def asked(n: int) -> np.ndarray:
        found = np.zeros((n, END + 1))
        for first in range(1, n - 1):
            ones = table(first, n - 1 - first)
            found[: len(ones)] += np.stack([1 - ones, ones, np.zeros(len(ones))], 1)
            found[len(ones), END] += 1
        return found / (n - 2)

    lengths = range(shortest, length + 1)
    return Generator(
        draw,
        steps=2 * length,
        vocab=OPERATOR + 1,
        outputs=END + 1,
        chance=blind_answers((shortest, length), map(asked, lengths)),
        solved=SOLVED,
        bits=float(np.mean([n - 1 + math.log2(n - 2) for n in lengths])) + math.log2(len(lengths)),
        lengths=(shortest, length),
    )


def _carried(digits: Array) -> Array:
    """[N] numbers, each worth 2^place, as [N] bits; what is carried beyond the last is lost."""

    def step(carry: Array, digit: Array) -> tuple[Array, Array]:
        total = carry + digit
        return total // 2, total % 2

    return jax.lax.scan(step, jnp.zeros((), digits.dtype), digits)[1]


def _add(a: Array, b: Array) -> Array:
    return _carried(a + b)


def _multiply(a: Array, b: Array) -> Array:
    products = jnp.convolve(a.astype(jnp.float32), b.astype(jnp.float32), precision="highest")
    return _carried(jnp.round(products).astype(jnp.int32))[: len(a)]


COUNTED = 8
"""Bits of the operands whose products are counted one by one."""


@functools.cache
def _counted(first: int, second: int) -> np.ndarray:
    """[first + second] the share of ones in each bit of the product, over all operands of so many bits."""
    products = np.multiply.outer(np.arange(2**first), np.arange(2**second)).ravel()
    return np.array([(products >> bit & 1).mean() for bit in range(first + second)])


def _product_shares(first: int, second: int) -> np.ndarray:
    m, most = sorted((first, second))
    shares = np.empty(m + most)
    shares[:most] = (1 - 2.0 ** -np.minimum(np.arange(most) + 1, m)) / 2
    few = min(m, COUNTED), min(most, COUNTED)
    top = _counted(*few)[few[1] :]  # of the bits that only both operands together reach
    shares[most:] = 0.5
    shares[m + most - len(top) :] = top
    return shares


def compute_sqrt(*, length: int = 40, shortest: int = 1) -> Generator:
    """The square root, rounded down, of a binary number of n bits, the highest first; ceil(n / 2) bits.

    Tokens: 0 blank, 1 and 2 the bits; classes: 0, 1, and 2 the terminator. T = length + ceil(length / 2) + 1.
    On the device the root is drawn bit by bit as on paper: a scan over pairs of bits takes down two more,
    tries root 01 under the remainder, and subtracts where it goes; the borrows run along the bits by a
    parallel prefix scan, so that numbers of hundreds of bits take as many short steps.
    Chance: the root is below s in s^2 of 2^n numbers, which gives the share of every bit; from the 12th bit
    on it is taken as 1/2 (right to 2^-13). Solved: 99 % right.

    Args:
      length: most bits of the input.
      shortest: fewest.

    Raises:
      UserError: an impossible length, or shortest beyond it.
    """
    check("length", length, 1)
    check("shortest", shortest, 1, length)
    pairs = (length + 1) // 2

    def draw(key: Key, n: Array) -> Example:
        bits = jax.random.randint(key, (length,), 0, 2)
        whole = jnp.concatenate([bits, jnp.zeros(2 * pairs - length, bits.dtype)])
        aligned = jnp.where(n % 2 == 1, jnp.roll(whole, 1).at[0].set(0), whole)
        return answered(1 + bits, n, _root(aligned.reshape(pairs, 2)), (n + 1) // 2, END)

    def asked(n: int) -> np.ndarray:
        ones = np.array([_root_share(n, bit) for bit in range((n + 1) // 2)])
        shares = np.stack([1 - ones, ones, np.zeros_like(ones)], 1)
        return np.concatenate([shares, [[0, 0, 1.0]]])

    lengths = range(shortest, length + 1)
    return Generator(
        draw,
        steps=length + pairs + 1,
        vocab=3,
        outputs=END + 1,
        chance=blind_answers((shortest, length), map(asked, lengths)),
        solved=SOLVED,
        bits=(shortest + length) / 2 + math.log2(len(lengths)),
        lengths=(shortest, length),
    )


def _root(pairs: Array) -> Array:
    """The bits [P] of the root of a number of P pairs of bits [P, 2], the highest first."""
    width = len(pairs) + 4

    def borrowed(low: tuple[Array, Array], high: tuple[Array, Array]) -> tuple[Array, Array]:
        return high[0] | (high[1] & low[0]), low[1] & high[1]

    def step(state: tuple[Array, Array], pair: Array) -> tuple[tuple[Array, Array], Array]:
        rest, root = state  # [width] bool, the lowest bit first
        rest = jnp.concatenate([pair[::-1], rest[:-2]])
        trial = jnp.concatenate([jnp.array([True, False]), root[:-2]])
        borrows, _ = jax.lax.associative_scan(borrowed, (~rest & trial, rest == trial))
        fits = ~borrows[-1]
        less = rest ^ trial ^ jnp.concatenate([jnp.array([False]), borrows[:-1]])
        root = jnp.concatenate([fits[None], root[:-1]])
        return (jnp.where(fits, less, rest), root), fits

    start = (jnp.zeros(width, bool), jnp.zeros(width, bool))
    return jax.lax.scan(step, start, pairs > 0)[1].astype(jnp.int32)


@functools.cache
def _root_share(n: int, bit: int) -> float:
    """How likely the bit (0: the highest) of the root of an n-bit number is 1."""
    if bit >= 12:
        return 0.5
    edges = np.arange(2 ** (bit + 1) + 1) / 2 ** (bit + 1)  # of the root as a share of 2^ceil(n / 2)
    below = np.minimum(1, edges**2 * 2 ** (n % 2))
    return float(sum(high - low for low, high in itertools.islice(itertools.pairwise(below), 1, None, 2)))
