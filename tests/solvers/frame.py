"""What a generated task owes its tests."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Known(NamedTuple):
    """What a generated task owes its tests.

    Attributes:
      solve: (steps, **options) -> an answer a step, a Python generator written from the task's description:
        `steps` is an iterator over the real steps of ONE sequence (an int, or an array [D]), `options` are
        all of the task's own options. It takes a step and yields its answer before it takes the next one:
          None where nothing is asked, a class, a float or array [O], or, where the input does not determine
          the class, the frozenset of those that are possible.
        Where no such player can be written, the reason in words.
      cases: options that make the task tiny (T <= 16 or so), the plain case first and each option that
        changes the equations once. {} is a case.
      perfect: (batch) -> logits [T, B, O] of a predictor that knows the answers, where the targets
        themselves (sharply, as classes, or as values) are not it.
      eager: it answers at steps that are not scored too, for they do not look different.
    """

    solve: Callable[..., Any] | str
    cases: list[dict[str, Any]]
    perfect: Callable[[Any], Any] | None = None
    eager: bool = False
