"""Values drawn for random search."""

import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import check_name, lookup

__all__ = ["DISTRIBUTIONS", "draw", "rounded"]

Generator = np.random.Generator


def rounded(value: float) -> float:
    """Four significant digits: all that a search needs, and a name that can be read."""
    return float(f"{value:.4g}")


def _ordered(low: float, high: float, least: float = -math.inf) -> None:
    if not least < low <= high:
        raise UserError(f"low={low:g}, high={high:g}: low must not exceed high, nor be {least:g} or less")


def _uniform(rng: Generator, low: float, high: float) -> float:
    _ordered(low, high)
    return rounded(rng.uniform(low, high))


def _log_uniform(rng: Generator, low: float, high: float) -> float:
    _ordered(low, high, 0)
    return rounded(math.exp(rng.uniform(math.log(low), math.log(high))))


def _integer(rng: Generator, low: int, high: int) -> int:
    _ordered(low, high)
    return int(rng.integers(low, high, endpoint=True))


def _log_integer(rng: Generator, low: int, high: int) -> int:
    """Each whole number from low to high, with a chance that falls as 1 / number."""
    _ordered(low, high, 0)
    return min(high, int(math.exp(rng.uniform(math.log(low), math.log(high + 1)))))


def _normal(rng: Generator, mean: float, std: float) -> float:
    return rounded(rng.normal(mean, std))


def _choice(rng: Generator, values: list) -> Any:
    if not values:
        raise UserError("values is empty")
    return values[int(rng.integers(len(values)))]


DISTRIBUTIONS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "uniform": (_uniform, ("low", "high")),
    "log_uniform": (_log_uniform, ("low", "high")),
    "integer": (_integer, ("low", "high")),
    "log_integer": (_log_integer, ("low", "high")),
    "normal": (_normal, ("mean", "std")),
    "choice": (_choice, ("values",)),
}
"""name -> (one draw, its arguments)."""


def draw(field: str, spec: Mapping[str, Any], count: int, seed: int) -> list[Any]:
    """`count` values for `field`: a function of (seed, field) alone, and a larger count only adds to them.

    Args:
      field: dotted name; its stream of numbers is its own.
      spec: {"distribution": a name of DISTRIBUTIONS, and that one's arguments}.
      count: values to draw.
      seed: of the search.

    Raises:
      UserError: an unknown distribution, or arguments that it does not take.
    """
    where = f"the random search over {field}"
    if not isinstance(spec, Mapping) or "distribution" not in spec:
        raise UserError(f'{where} needs {{"distribution": one of {", ".join(DISTRIBUTIONS)}, ...}}')
    one, names = lookup(DISTRIBUTIONS, spec["distribution"], f"distribution of {where}:")
    given = {name: value for name, value in spec.items() if name != "distribution"}
    for name in given:
        check_name(name, names, f"argument of {where}:")
    if missing := [name for name in names if name not in given]:
        raise UserError(f"{where}: {spec['distribution']} needs {', '.join(missing)}")
    rng = np.random.default_rng([seed, zlib.crc32(field.encode())])
    try:
        return [one(rng, **given) for _ in range(count)]
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {given} will not do: {error}") from error
