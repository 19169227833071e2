"""The leaves of a tree that have a gradient, apart from those that have none (masks, counters, keys)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.support.notation import Array, Tree

__all__ = ["Halves", "halve", "is_smooth"]


class Halves(NamedTuple):
    """A tree in two halves.

    Attributes:
      smooth: the leaves of inexact dtype, in the tree's order.
      rest: the other leaves.
      of_smooth: a list with one item for each leaf -> the items of the smooth leaves.
      join: (smooth, rest) -> the tree again; other leaves may stand in for them.
    """

    smooth: list[Array]
    rest: list[Array]
    of_smooth: Callable[[Sequence[Any]], list[Any]]
    join: Callable[[Sequence[Any], Sequence[Any]], Tree]


def is_smooth(leaf: Any) -> bool:
    """True for a leaf of inexact dtype: one that can be differentiated."""
    return bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


def halve(tree: Tree) -> Halves:
    """The two halves of a tree of arrays."""
    leaves, treedef = jax.tree.flatten(tree)
    kinds = [is_smooth(leaf) for leaf in leaves]

    def join(smooth: Sequence[Any], rest: Sequence[Any]) -> Tree:
        smooth_left, rest_left = iter(smooth), iter(rest)
        return jax.tree.unflatten(treedef, [next(smooth_left if kind else rest_left) for kind in kinds])

    def of_smooth(items: Sequence[Any]) -> list[Any]:
        return [item for item, kind in zip(items, kinds, strict=True) if kind]

    rest = [leaf for leaf, kind in zip(leaves, kinds, strict=True) if not kind]
    return Halves(of_smooth(leaves), rest, of_smooth, join)
