"""The check that a dropout rate is one, and whether a setting is absent."""

from typing import Any

from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array

__all__ = ["absent", "rate_is_zero"]


def absent(value: Any) -> bool:
    """True for a plain number 0: what it would scale is left out of the program.

    An array is never absent: it may be traced, its value being known only when the program runs.
    """
    return isinstance(value, int | float) and value == 0


def rate_is_zero(rate: float | Array, what: str, *, below_one: bool = False) -> bool:
    """True where `rate` is the plain number 0, so that a wrapper can leave the cell as it is.

    A plain number must lie in [0, 1], or in [0, 1) where `below_one`. An array passes, since it may be
    traced (a sweep vmaps over it), and counts as not zero.

    Raises:
      UserError: a number outside; `what` names the rate.
    """
    if not isinstance(rate, int | float):
        return False
    if not (0 <= rate < 1 or (rate == 1 and not below_one)):
        raise UserError(f"{what} rate {rate} is outside [0, 1{')' if below_one else ']'}; try 0.1")
    return absent(rate)
