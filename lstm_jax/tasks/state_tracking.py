"""State tracking: the product of the elements of a group so far, after every step.

The word problem of a group: an automaton with one state an element solves it. For S5 and A5, which are not
solvable, it is complete for NC1, beyond what transformers and linear recurrences compute in one pass (Liu et
al. 2023, Transformers learn shortcuts to automata; Merrill, Petty & Sabharwal 2024, The illusion of state in
state-space models). Z60 is as large as A5 and commutes.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.notation import Array, Key
from lstm_jax.support.registry import check_name
from lstm_jax.tasks.generated import Example, Generator, check
from lstm_jax.tasks.readout import SOLVED

__all__ = ["GROUPS", "elements", "state_tracking"]

GROUPS = {"S3": 6, "S5": 120, "A5": 60, "Z60": 60}
"""Group -> its order."""


@functools.cache
def elements(group: str) -> list[tuple[int, ...]]:
    """The permutations of S3, S5, A5 in lexical order; of Z60 the rotations of 60 places. The first is 1."""
    if group.startswith("Z"):
        order = GROUPS[group]
        return [tuple((i + k) % order for i in range(order)) for k in range(order)]
    every = itertools.permutations(range(int(group[1:])))
    return [p for p in every if group.startswith("S") or _is_even(p)]


def _is_even(permutation: tuple[int, ...]) -> bool:
    pairs = itertools.combinations(permutation, 2)
    return sum(one > other for one, other in pairs) % 2 == 0


@functools.cache
def _products(group: str) -> np.ndarray:
    """[order, order] int32: number of "first a, then b" in `elements`."""
    which = elements(group)
    number = {element: k for k, element in enumerate(which)}
    return np.array([[number[tuple(b[i] for i in a)] for b in which] for a in which], np.int32)


def state_tracking(*, length: int = 20, shortest: int = 1, group: str = "S5") -> Generator:
    """The product of the elements so far, after every step; each is drawn evenly from the whole group.

    Tokens and classes are the numbers of the elements. T = length, V = O = the group's order. Chance: a
    product with an even draw is even: ln(order) nats, 1/order right. Solved: 99 % right.

    Args:
      length: most elements of a sequence.
      shortest: fewest.
      group: a name of GROUPS.

    Raises:
      UserError: an impossible length, shortest beyond it, or an unknown group.
    """
    check("length", length, 1)
    check("shortest", shortest, 1, length)
    check_name(group, GROUPS, "group of the task 'state_tracking':")
    order, table = GROUPS[group], _products(group)

    def draw(key: Key, n: Array) -> Example:
        inputs = jax.random.randint(key, (length,), 0, order)

        def step(state: Array, token: Array) -> tuple[Array, Array]:
            state = jnp.asarray(table)[state, token]
            return state, state

        _, states = jax.lax.scan(step, jnp.int32(0), inputs)
        return Example(inputs, states, (jnp.arange(length) < n).astype(jnp.float32), n)

    return Generator(
        draw,
        steps=length,
        vocab=order,
        outputs=order,
        chance={"nats": math.log(order), "accuracy": 1 / order},
        solved=SOLVED,
        bits=(shortest + length) / 2 * math.log2(order) + math.log2(length + 1 - shortest),
        lengths=(shortest, length),
    )
