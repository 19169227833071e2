"""The LSTM as it was at first, without a forget gate (Hochreiter & Schmidhuber 1997)."""

from typing import Any

import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.gated import gated, split_gates
from lstm_jax.cells.initializers import Initializer
from lstm_jax.cells.lstm import LSTMCarry, lstm_state
from lstm_jax.support.notation import Array, Params

__all__ = ["lstm_1997"]


def lstm_1997(
    hidden: int,
    *,
    gate_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
) -> Cell:
    """The LSTM with f = 1: i, o = sigmoid(x W_x + h W_h + b), g = tanh(same); c' = c + i g; h' = o tanh(c').

    Hochreiter & Schmidhuber 1997, section 4, whose c forgets nothing until the carry is reset (the constant
    error carousel). Their g and h reach from -2 to 2 and from -1 to 1 by scaled sigmoids, that is
    2 tanh(a / 2) and tanh(c / 2); here both are tanh, as in every LSTM since. Gates i, g, o.

    Args:
      hidden: H.
      gate_activation: of i and o: a name of `activations.ACTIVATIONS`.
      activation: in place of both tanh.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters, gate sums and c stay float32.

    Raises:
      UserError: a bad activation, init or hidden.
    """
    squash, bend = activation_function(gate_activation), activation_function(activation)
    name = cell_name("lstm_1997", (gate_activation, activation))

    def update(params: Params, carry: LSTMCarry, z: Array, r: Array) -> tuple[LSTMCarry, Array, Trace]:
        i, g, o = split_gates(z + r)
        return lstm_state(carry, squash(i), None, bend(g), squash(o), bend)

    return gated(name, hidden, 3, LSTMCarry, update, init=init, dtype=dtype)
