"""The variant that the others are compared with: named by a person, found among the labels."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lstm_jax.cells.spec import split_outside_parentheses
from lstm_jax.support.errors import UserError

__all__ = ["find_baseline", "named", "reference", "varying"]

Labels = Mapping[str, Any]


def varying(labels: Sequence[Labels]) -> list[str]:
    """The names whose values are not the same everywhere, in their order."""
    names = list(dict.fromkeys(name for one in labels for name in one))
    return [name for name in names if len({json.dumps(one.get(name)) for one in labels}) > 1]


def named(labels: Labels) -> str:
    """Labels as a person reads and types them: "forget_bias=1, hidden=64"; a list's label stands alone."""
    return ", ".join(str(v) if name == "variant" else f"{name}={v}" for name, v in labels.items())


def _readings(wanted: Any, names: Sequence[str]) -> list[dict[str, str]]:
    """What `wanted` may mean, as name -> text of the value; a label may hold "=" and "," itself."""
    if isinstance(wanted, Mapping):
        return [{str(name): str(value) for name, value in wanted.items()}]
    text = str(wanted).strip()
    pairs = [part.partition("=") for part in split_outside_parentheses(text)]
    found = [{name: text} for name in names]
    if "=" in text:
        found.append({text.partition("=")[0].strip(): text.partition("=")[2].strip()})
    if all(equals for _, equals, _ in pairs):
        found.append({name.strip(): value.strip() for name, _, value in pairs})
    return found


def find_baseline(labels: Sequence[Labels], wanted: Any, length: str = "") -> dict[str, Any]:
    """The labels of the baseline.

    Args:
      labels: of all members.
      wanted: {name: value}, text like "forget_bias=1", or a value alone ("LSTM"); nothing is the first
        variant.
      length: the name that is an axis, and no part of a variant.

    Returns:
      Name -> value, with the values as the labels have them, None for a name that the baseline has not, as
      where the first of a list is the base config alone. Names that are left out are free: a variant is
      compared with the one that agrees with it there.

    Raises:
      UserError: no variant has these labels, or a value alone stands under several names.
    """
    names = varying(labels) or list(labels[0] if labels else {})
    if not wanted:
        first = labels[0] if labels else {}
        return {name: first.get(name) for name in names if name != length}
    found: list[dict[str, Any]] = []
    for reading in _readings(wanted, list(dict.fromkeys(n for one in labels for n in one))):
        for one in labels:
            if reading and all(str(one.get(name)) == value for name, value in reading.items()):
                found.append({name: one.get(name) for name in reading})
                break
    distinct = [one for index, one in enumerate(found) if one not in found[:index]]
    if len(distinct) == 1:
        return distinct[0]
    text = named(wanted) if isinstance(wanted, Mapping) else wanted
    if distinct:
        raise UserError(
            f"baseline {text!r} may be {' or '.join(map(named, distinct))}: write the one that is meant"
        )
    kept = [{n: one[n] for n in names if n in one and n != length} for one in labels]
    options = list(dict.fromkeys(map(named, kept)))
    shown = "; ".join(options[:12]) + (f"; ... ({len(options)} in all)" if len(options) > 12 else "")
    raise UserError(f"baseline {text!r} is no variant of the sweep; its variants are: {shown}")


def reference(labels: Sequence[Labels], one: Labels, baseline: Labels, length: str = "") -> int | None:
    """The place in `labels` of what `one` is compared with: its own labels with the baseline's put in.

    Where there is none, as in a list whose entries set different fields, it is the only one that has the
    baseline's labels, at the same length; None where that does not decide.
    """
    exact = {name: value for name, value in {**one, **baseline}.items() if value is not None}
    for index, other in enumerate(labels):
        if dict(other) == exact:
            return index
    near = [
        index
        for index, other in enumerate(labels)
        if all(other.get(name) == value for name, value in baseline.items())
        and (length in baseline or other.get(length) == one.get(length))
    ]
    return near[0] if len(near) == 1 else None
