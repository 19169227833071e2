"""What a model is: a record of pure functions, and what it gives for one window."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from lstm_jax.support.notation import Array, Key, Params

__all__ = ["DTYPES", "Model", "Outputs", "linear_head"]

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
"""The compute dtypes by the name that configs give them."""


class Outputs(NamedTuple):
    """What a model gives for one window.

    Attributes:
      logits: [T, B, O] float32.
      carry: one carry a layer, after the last step.
      hidden: [T, B, H] output of the last layer.
      dropped: [T, B, H] the same after output dropout: what the head saw.
      traces: one dict a layer, name -> [T, B, H]: the gates; empty where the backend has none.
    """

    logits: Array
    carry: tuple
    hidden: Array
    dropped: Array
    traces: tuple


class Model(NamedTuple):
    """A stack of cells with an input and a head, as pure functions.

    Attributes:
      init: (key) -> params: {"embedding" [V, E] (tokens only), "layers" (one dict a layer),
        "head": {"w" [H, O] (absent when tied), "b" [O]}}, float32.
      carry: (params, batch) -> one carry a layer, each leaf [B, ...].
      apply: (params, inputs [T, B] or [T, B, D], carry, *, key, lengths, resets, around) -> Outputs.
        key None is deterministic; a key turns every dropout on. around(layer, cell) -> cell, where given, is
        run in the place of each layer's cell, by the scan: how an instrument reaches into a step. Instead of
        tokens their embeddings [T, B, E] may be given, for gradients with respect to these.
      head: (params, hidden [..., H]) -> logits [..., O] float32.
      backend: the unroll that was chosen, and `why`, for the run's log.
    """

    init: Callable[[Key], Params]
    carry: Callable[[Params, int], tuple]
    apply: Callable[..., Outputs]
    head: Callable[[Params, Array], Array]
    backend: str
    why: str


def linear_head(states: Array, weight: Array, bias: Array, dtype: Any) -> Array:
    """Logits states [..., H] @ weight [H, O] + bias [O] -> [..., O] float32, by a product of `dtype` factors.

    One matrix of T * B rows: with [T, B, V] logits XLA's CPU compiler copies their whole gradient into
    another order ahead of the weight's gradient, a tenth of the step (experiments/LOG.md).
    """
    rows = states.reshape(-1, states.shape[-1]).astype(dtype)
    logits = jnp.dot(rows, weight.astype(dtype), preferred_element_type=jnp.float32)
    return (logits + bias).reshape(*states.shape[:-1], bias.shape[0])
