"""The simple recurrent network (Elman 1990), the baseline without gates."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.gated import gated
from lstm_jax.cells.initializers import Initializer
from lstm_jax.support.notation import Array, Params

__all__ = ["ElmanCarry", "elman"]


class ElmanCarry(NamedTuple):
    """h [B, H] in the compute dtype."""

    h: Array


def elman(
    hidden: int,
    *,
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
) -> Cell:
    """The Elman network: h' = tanh(x W_x + h W_h + b), one gate axis entry. Trace empty: y is all there is.

    Args:
      hidden: H.
      activation: in place of tanh: a name of `activations.ACTIVATIONS`.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters and sums stay float32.

    Raises:
      UserError: a bad activation, init or hidden.
    """
    bend = activation_function(activation)

    def update(params: Params, carry: ElmanCarry, z: Array, r: Array) -> tuple[ElmanCarry, Array, Trace]:
        h = bend((z + r)[:, 0]).astype(carry.h.dtype)
        return ElmanCarry(h), h, {}

    name = cell_name("elman", (activation,), ("tanh",))
    return gated(name, hidden, 1, ElmanCarry, update, init=init, dtype=dtype)
