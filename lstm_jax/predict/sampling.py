"""Choosing the next token: temperature, the k likeliest, and the nucleus."""

import math

import jax
import jax.numpy as jnp

from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key

__all__ = ["GREEDY_BELOW", "check_sampling", "choose", "restrict"]

GREEDY_BELOW = 1e-6
"""Temperatures below this are greedy: dividing by them would leave float32."""


def check_sampling(*, temperature: float, top_k: int | None, top_p: float, seed: int) -> None:
    """Raises UserError unless the options of sampling make sense."""
    if not 0 <= temperature < math.inf:
        raise UserError(
            f"temperature={temperature} is not possible: it must be 0 (greedy) or a positive number"
        )
    if top_k is not None and top_k < 1:
        raise UserError(f"top_k={top_k} is not possible: keep at least 1 token, or leave it out to keep all")
    if not 0 < top_p <= 1:
        raise UserError(f"top_p={top_p} is not possible: it must be above 0 and at most 1 (which keeps all)")
    if not 0 <= seed < 2**32:
        raise UserError(f"seed={seed} is not possible: it must be from 0 to {2**32 - 1}")


def restrict(logits: Array, top_k: Array | int, top_p: Array | float) -> Array:
    """Keeps the logits of the likeliest tokens and makes the others -inf.

    First the `top_k` likeliest stay, and of these, renormalised, the smallest set of likeliest tokens whose
    probability reaches `top_p` (Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration"). Of
    equal logits the lower index comes first, as in argmax.

    Args:
      logits: [V], with the temperature already applied.
      top_k: at least 1.
      top_p: in (0, 1]; 1 keeps all.
    """
    order = jnp.argsort(-logits, stable=True)
    ranked = jnp.where(jnp.arange(len(logits)) < top_k, logits[order], -jnp.inf)
    probs = jax.nn.softmax(ranked)
    before = jnp.cumsum(probs) - probs  # what is likelier has this much already
    # At 1 without the comparison: the rounding of the sum must not cut off rare tokens.
    kept = jnp.where((before < top_p) | (top_p >= 1), ranked, -jnp.inf)
    return jnp.zeros_like(logits).at[order].set(kept)


def choose(
    key: Key, logits: Array, temperature: Array, top_k: Array, top_p: Array, *, restricted: bool
) -> Array:
    """Draws a token from softmax(logits / temperature), restricted; temperature 0 takes the likeliest.

    Args:
      key: of this one draw. The draw is the same for `restricted` False and a restriction to everything.
      logits: [V].
      temperature, top_k, top_p: scalars that may be traced; see `restrict`.
      restricted: False where top_k and top_p keep everything, which saves sorting V logits.
    """
    warm = temperature > 0
    scaled = (logits - logits.max()) / jnp.where(warm, temperature, 1.0)
    if restricted:
        scaled = restrict(scaled, top_k, top_p)
    return jnp.where(warm, jax.random.categorical(key, scaled), jnp.argmax(logits)).astype(jnp.int32)
