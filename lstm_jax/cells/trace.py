"""The arrays of a trace: their order, and which of them belong to single units."""

from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["in_order", "of_units"]

T = TypeVar("T")

_ORDER = ("i", "f", "g", "o", "c")


def in_order(trace: Mapping[str, T]) -> dict[str, T]:
    """The same by name, the LSTM's names first in the order i, f, g, o, c; jit leaves them by alphabet."""
    first = [name for name in _ORDER if name in trace]
    return {name: trace[name] for name in [*first, *(name for name in trace if name not in _ORDER)]}


def of_units(trace: Mapping[str, Any]) -> dict[str, Any]:
    """What a layer's trace, name -> [T, B, ...], tells of its units one by one: [T, B, H], by name, in order.

    Neither matrices are that, nor `attention`, whose last axis is the slots of a memory.
    """
    return {name: value for name, value in in_order(trace).items() if value.ndim == 3 and name != "attention"}
