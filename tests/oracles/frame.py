"""What the oracles are written with, and what the tables of tests must know of a cell beside them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

__all__ = ["BENT", "Facts", "preactivation", "sigmoid"]

_NONE: Mapping[str, Any] = MappingProxyType({})


class Facts(NamedTuple):
    """How the tests build a cell small, and where it differs from the plainest cell; all by default: nowhere.

    Attributes:
      options: of its factory, in every test.
      hidden: H in every test, where not any H will do; None: the test's own.
      cases: label -> further options: each is one more case of the tables in tests/cells/test_cells.py.
      output: H -> the width of y.
      carry: field -> (H -> its shape after B), for the fields that are not [B, H].
      start: field -> the number that it starts from, for those that do not start from 0.
      valid: a carry of random numbers around 0 -> one that the cell can be in (a positive normaliser).
      input_weights: names of the leaves [D, ...] that meet the input.
      recurrent_weights: names of the leaves that meet the carry; they drop in weight drop.
      constants: names of the weights that start the same for every key.
      matmuls: products in `prepare`.
      standard: w_x is [D, G, H], w_h [H, G, H], b [G, H], and r [B, G, H].
      single: no product of weights has another as a factor, so that r is linear in the weights too.
    """

    options: Mapping[str, Any] = _NONE
    hidden: int | None = None
    cases: Mapping[str, dict[str, Any]] = _NONE
    output: Callable[[int], int] = lambda hidden: hidden
    carry: Mapping[str, Callable[[int], tuple[int, ...]]] = _NONE
    start: Mapping[str, float] = _NONE
    valid: Callable[[Any], Any] = lambda carry: carry
    input_weights: tuple[str, ...] = ("w_x",)
    recurrent_weights: tuple[str, ...] = ("w_h",)
    constants: tuple[str, ...] = ()
    matmuls: int = 1
    standard: bool = True
    single: bool = True


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


BENT = {
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda a: np.minimum(np.maximum(a / 6 + 0.5, 0), 1),
    "tanh": np.tanh,
    "hard_tanh": lambda a: np.minimum(np.maximum(a, -1), 1),
    "softsign": lambda a: a / (1 + np.abs(a)),
    "relu": lambda a: np.maximum(a, 0),
    "identity": lambda a: a,
}
"""The functions that options named gate_activation and activation choose among."""


def preactivation(p, h, x, gate):
    """The sum of gate number `gate` for each unit, element by element."""
    total = p["b"][gate] + p.get("b_fixed", np.zeros_like(p["b"]))[gate]
    for d in range(len(x)):
        total = total + x[d] * p["w_x"][d, gate]
    for j in range(len(h)):
        total = total + h[j] * p["w_h"][j, gate]
    return total
