"""Many states to one: the last real step, their mean, or attention over them; padding has no say in any."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lstm_jax.support.notation import Array, Key, Params

__all__ = [
    "PAD",
    "POOLING",
    "at_last",
    "attention_weights",
    "init_attention",
    "lengths_from_padding",
    "real",
    "reverse",
]

PAD = 0
"""The token that fills up sequences where their lengths are not given."""


def lengths_from_padding(tokens: Array) -> Array:
    """[B] int32, the steps of each sequence of `tokens` [T, B] up to the last one that is not PAD."""
    steps = jnp.arange(1, tokens.shape[0] + 1, dtype=jnp.int32)[:, None]  # len() takes no symbolic T
    return jnp.max(jnp.where(tokens != PAD, steps, 0), axis=0)


def real(steps: int, lengths: Array) -> Array:
    """[T, B] bool: steps within the lengths [B]."""
    return jnp.arange(steps)[:, None] < lengths


def reverse(x: Array, lengths: Array) -> Array:
    """`x` [T, B, ...] with each sequence's real steps in reverse; its padding stays behind, where it was.

    Its own inverse.
    """
    steps = jnp.arange(x.shape[0])[:, None]
    index = jnp.where(steps < lengths, lengths - 1 - steps, steps)
    return jnp.take_along_axis(x, index.reshape(index.shape + (1,) * (x.ndim - 2)), axis=0)


def at_last(x: Array, lengths: Array) -> Array:
    """[B, F], the last real step of each sequence of `x` [T, B, F]; zeros where a sequence has none."""
    index = jnp.maximum(lengths - 1, 0)[None, :, None]
    return jnp.where(lengths[:, None] > 0, jnp.take_along_axis(x, index, axis=0)[0], 0)


def _mean(params: Params, states: Array, lengths: Array) -> Array:
    total = jnp.where(real(states.shape[0], lengths)[..., None], states, 0).sum(0, dtype=jnp.float32)
    return total / jnp.maximum(lengths, 1)[:, None]


def attention_weights(params: Params, states: Array, lengths: Array) -> Array:
    """The softmax over the real steps of v . tanh(W h_t + b), [T, B] float32 (Yang et al. 2016, section 2.2).

    Zero past a sequence's length, and everywhere in a sequence without a step.

    Args:
      params: w [F, F], b [F], v [F].
      states: [T, B, F].
      lengths: [B].
    """
    scores = jnp.tanh(states.astype(jnp.float32) @ params["w"] + params["b"]) @ params["v"]
    mask = real(states.shape[0], lengths)
    scores = jnp.where(mask, scores, -jnp.inf)
    top = jnp.where(lengths > 0, scores.max(0), 0.0)
    weights = jnp.where(mask, jnp.exp(jnp.where(mask, scores, 0.0) - jax.lax.stop_gradient(top)), 0.0)
    return weights / jnp.maximum(weights.sum(0), jnp.finfo(jnp.float32).tiny)


def _attention(params: Params, states: Array, lengths: Array) -> Array:
    """[B, F] float32, the mean of states [T, B, F] under `attention_weights`."""
    weights = attention_weights(params, states, lengths)
    return (weights[..., None] * jnp.where(real(states.shape[0], lengths)[..., None], states, 0)).sum(0)


def init_attention(key: Key, width: int, weights: Callable[[Key, tuple[int, ...]], Array]) -> Params:
    """The parameters of `attention_weights` for F = width."""
    one, two = jax.random.split(key)
    return {"w": weights(one, (width, width)), "b": jnp.zeros(width), "v": weights(two, (width,))}


POOLING: dict[str, Callable[[Params, Array, Array], Array]] = {
    "last": lambda params, states, lengths: at_last(states, lengths),
    "mean": _mean,
    "attention": _attention,
}
"""name -> (params, states [T, B, F], lengths [B]) -> [B, F]."""
