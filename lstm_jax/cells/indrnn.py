"""The IndRNN: rectified linear units with one recurrent weight each (Li et al. 2018)."""

from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.diagonal import diagonal
from lstm_jax.cells.elman import ElmanCarry
from lstm_jax.cells.initializers import Initializer
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params

__all__ = ["indrnn"]


def indrnn(
    hidden: int,
    *,
    steps: int = 0,
    heads: int = 1,
    activation: Activation = "relu",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
) -> Cell:
    """The independently recurrent network: h' = max(x W_x + u h + b, 0), u a vector, u h elementwise.

    Li et al. 2018, "Independently Recurrent Neural Network (IndRNN)", eq. 2. u is drawn from U(0, 1), or, for
    memories of `steps` steps, from U(0, 2^(1/steps)), their bound on |u|, so that a memory at most doubles
    in that time. The bound holds at the start; training does not enforce it. The Jacobian of a step is
    diagonal. Trace empty.

    Args:
      hidden: H.
      steps: steps that a memory lasts; 0: u is at most 1.
      heads: parts of the input projection, as in `para_lstm`.
      activation: in place of max(a, 0), as in `elman`.
      init: of W_x and b: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters and sums stay float32.

    Raises:
      UserError: negative steps, heads that do not divide H or D, or what `elman` refuses.
    """
    if steps < 0:
        raise UserError(f"indrnn: steps must be 0 or more, not {steps}")
    bend = activation_function(activation)
    most = 2.0 ** (1.0 / steps) if steps else 1.0

    def update(params: Params, carry: ElmanCarry, z: Array, r: Array) -> tuple[ElmanCarry, Array, Trace]:
        h = bend((z + r)[:, 0]).astype(carry.h.dtype)
        return ElmanCarry(h), h, {}

    def w_h(key: Key, shape: tuple[int, ...]) -> Array:
        return jax.random.uniform(key, shape, jnp.float32, 0.0, most)

    name = cell_name("indrnn", (activation,), ("relu",))
    return diagonal(name, hidden, 1, ElmanCarry, update, w_h=w_h, init=init, dtype=dtype, heads=heads)
