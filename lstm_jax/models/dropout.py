"""The dropouts of a model, outside its cells."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.cells.rates import absent
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key
from lstm_jax.support.registry import check_name

__all__ = ["DROPOUT", "checked_rates", "drop", "drop_words"]

DROPOUT = {
    "embedding": 0.0,
    "input": 0.0,
    "between": 0.0,
    "output": 0.0,
    "locked": False,
    "weight": 0.0,
    "zoneout_cell": 0.0,
    "zoneout_hidden": 0.0,
}
"""The dropouts and their defaults; the meaning of each stands in configs/base.py."""


def drop(x: Array, rate: float | Array, key: Key | None, *, locked: bool = False) -> Array:
    """Inverted dropout of `x` [T, B, ...]; `locked` keeps one mask for all T (Gal & Ghahramani 2016)."""
    if key is None or absent(rate):
        return x
    shape = (1, *x.shape[1:]) if locked else x.shape
    keep = jax.random.bernoulli(key, 1.0 - rate, shape)
    return jnp.where(keep, x / jnp.asarray(1.0 - rate, x.dtype), jnp.zeros((), x.dtype))


def drop_words(x: Array, tokens: Array, vocab: int, rate: float | Array, key: Key | None) -> Array:
    """Drops whole word types from the embedded `x` [T, B, E], one draw a type and window.

    The mask is looked up by token instead of being multiplied into the table: the same values and
    gradients (Merity 2017, section 4.3) without a pass over [V, E].
    """
    if key is None or absent(rate):
        return x
    keep = jax.random.bernoulli(key, 1.0 - rate, (vocab,))
    scale = jnp.where(keep, 1.0 / (1.0 - rate), 0.0).astype(x.dtype)
    return x * scale[tokens][..., None]


def checked_rates(dropout: Mapping[str, Any]) -> dict[str, Any]:
    """All of DROPOUT, with the rates that `dropout` gives. Raises UserError for an unknown or bad one."""
    for name in dropout:
        check_name(name, DROPOUT, "dropout")
    rates = DROPOUT | dict(dropout)
    for name, rate in rates.items():
        if name != "locked" and isinstance(rate, int | float) and not 0.0 <= rate < 1.0:
            raise UserError(f"dropout.{name}={rate}: a rate lies in [0, 1); 0 turns it off")
    return rates
