"""Leaves by name: `layers/0/w_h`, and masks chosen by patterns over such names."""

import re
from collections.abc import Sequence

import jax
import numpy as np

from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Tree

__all__ = ["FIXED", "count", "leaf_names", "mask", "named_leaves", "trainable"]

FIXED = "_fixed"
"""A leaf whose name ends so is stored and saved but never trained, decayed or penalised."""


def _name(path: tuple) -> str:
    parts = []
    for entry in path:
        for attribute in ("key", "idx", "name"):
            if hasattr(entry, attribute):
                parts.append(str(getattr(entry, attribute)))
                break
    return "/".join(parts)


def leaf_names(tree: Tree) -> Tree:
    """The same structure with each leaf's name in its place."""
    return jax.tree_util.tree_map_with_path(lambda path, _: _name(path), tree)


def named_leaves(tree: Tree) -> dict[str, Array]:
    """Leaves by name, in the tree's order."""
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def mask(tree: Tree, patterns: Sequence[str]) -> Tree:
    """True at the leaves whose name fully matches one of the regular expressions.

    Raises:
      UserError: a pattern matches no leaf (a misspelt mask must not pass silently).
    """
    names = list(named_leaves(tree))
    for pattern in patterns:
        if not any(re.fullmatch(pattern, name) for name in names):
            raise UserError(
                f"parameter pattern {pattern!r} matches none of the parameters: {', '.join(names)}"
            )
    return jax.tree.map(
        lambda name: any(re.fullmatch(pattern, name) for pattern in patterns), leaf_names(tree)
    )


def trainable(tree: Tree) -> Tree:
    """True at the leaves that train, False at those whose name ends in `_fixed`."""
    return jax.tree.map(lambda name: not name.endswith(FIXED), leaf_names(tree))


def count(tree: Tree) -> int:
    """Number of trainable scalars in the tree."""
    return sum(
        int(np.prod(np.shape(leaf))) for name, leaf in named_leaves(tree).items() if not name.endswith(FIXED)
    )
