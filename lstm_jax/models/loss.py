"""The cross-entropy of a softmax with integer classes, and its hand-written gradient."""

import jax
import jax.numpy as jnp
from jax import lax

from lstm_jax.support.notation import Array

__all__ = ["cross_entropy"]


@jax.custom_vjp
def cross_entropy(logits: Array, targets: Array) -> Array:
    """Cross-entropy of the softmax of `logits` with integer classes.

    Computed in float32 at least, whatever comes in; the gradient has the dtype of `logits`. Reverse mode
    only (no `jax.jvp`). A target outside [0, V) gives NaN, never a wrapped or clamped class.

    Args:
      logits: [..., V] unnormalised log-probabilities; -inf forbids a class.
      targets: [...] integer classes.

    Returns:
      [...] nats, -log softmax(logits)[target].
    """
    return _forward(logits, targets)[0]


def _forward(logits: Array, targets: Array) -> tuple[Array, tuple]:
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    classes = wide.shape[-1]
    # A negative index would wrap; moved past the end it is filled with NaN as the others out of range are.
    index = jnp.where(targets < 0, classes, targets)
    chosen = jnp.take_along_axis(wide, index[..., None], -1, mode="fill", fill_value=jnp.nan)[..., 0]
    top = wide.max(-1)
    # The exponentials are the residual instead of the logits: the same memory, and the backward pass does
    # not exponentiate again (experiments/LOG.md, "Softmax cross-entropy on two CPU cores").
    exps = jnp.exp(wide - top[..., None])
    total = exps.sum(-1)
    return jnp.log(total) + (top - chosen), (exps, total, targets, jnp.zeros((), logits.dtype))


def _backward(residuals: tuple, cotangent: Array) -> tuple[Array, None]:
    exps, total, targets, like = residuals
    hit = lax.broadcasted_iota(targets.dtype, exps.shape, exps.ndim - 1) == targets[..., None]
    # softmax * g - onehot * g in one fused pass: the one-hot is a comparison inside it, not a scatter.
    gradient = exps * (cotangent / total)[..., None] - jnp.where(hit, cotangent[..., None], 0)
    return gradient.astype(like.dtype), None


cross_entropy.defvjp(_forward, _backward)
