"""Lookup by name in a literal table, with a suggestion when the name is not there."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

from lstm_jax.support.errors import UserError

__all__ = ["check_name", "lookup"]

T = TypeVar("T")


def check_name(name: str, allowed: Iterable[str], kind: str) -> None:
    """Raises UserError unless `name` is one of `allowed`; `kind` is the noun for the message."""
    names = list(allowed)
    if name in names:
        return
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(f"unknown {kind} {name!r}: {hint}allowed: {', '.join(names)}")


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """Returns `table[name]`, or raises UserError naming the nearest and all the allowed names."""
    check_name(name, table, kind)
    return table[name]
