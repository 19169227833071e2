"""The check that a dropout rate is one."""

from lstm_jax.errors import UserError
from lstm_jax.notation import Array

__all__ = ["check_rate"]


def check_rate(rate: float | Array, what: str, *, below_one: bool = False) -> float | Array:
    """Returns `rate` unchanged; a plain number must lie in [0, 1], or in [0, 1) where `below_one`.

    An array passes: it may be traced, and a sweep vmaps over it.

    Raises:
      UserError: a number outside.
    """
    if isinstance(rate, int | float) and not (0 <= rate < 1 or (rate == 1 and not below_one)):
        raise UserError(f"{what} rate {rate} is outside [0, 1{')' if below_one else ']'}; try 0.1")
    return rate
