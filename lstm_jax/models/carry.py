"""The carry that a batch starts from."""

import jax
import jax.numpy as jnp

from lstm_jax.models.base import Model
from lstm_jax.support.notation import Params
from lstm_jax.tasks.base import Batch

__all__ = ["from_start"]


def from_start(model: Model, params: Params, carry: tuple, batch: Batch) -> tuple:
    """`carry`, or the model's initial one where `batch` says that the sequences begin here."""
    start = model.carry(params, batch.inputs.shape[1])
    return jax.tree.map(lambda new, old: jnp.where(batch.fresh, new, old), start, carry)
