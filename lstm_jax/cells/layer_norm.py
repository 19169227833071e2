"""Layer normalisation (Ba, Kiros & Hinton 2016), for the cells that have it inside a step."""

import jax
import jax.numpy as jnp

from lstm_jax.support.notation import Array

__all__ = ["layer_norm"]


def layer_norm(a: Array, gain: Array, bias: Array, epsilon: float = 1e-5) -> Array:
    """LN(a) = gain (a - mean) / sqrt(variance + epsilon) + bias, over the last axis [..., H]."""
    centred = a - jnp.mean(a, -1, keepdims=True)
    variance = jnp.mean(centred**2, -1, keepdims=True)
    return gain * centred * jax.lax.rsqrt(variance + epsilon) + bias
