"""JANET: an LSTM with just another network's forget gate and no other (van der Westhuizen & Lasenby 2018)."""

from typing import Any

import jax.numpy as jnp

from lstm_jax.cells.activations import ACTIVATIONS, Activation, activation_function, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.forget_bias import ForgetBias, bias_rows
from lstm_jax.cells.gated import gated, split_gates
from lstm_jax.cells.initializers import Initializer
from lstm_jax.cells.lstm import LSTMCarry, lstm_state
from lstm_jax.support.notation import Array, Params

__all__ = ["janet"]


def janet(
    hidden: int,
    *,
    beta: float | Array = 1.0,
    forget_bias: ForgetBias = 1.0,
    forget_bias_trainable: bool = True,
    gate_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """JANET: s = x W_x + h W_h + b, g = tanh(same); c' = sigmoid(s) c + (1 - sigmoid(s - beta)) g; h' = c'.

    "The unreasonable effectiveness of the forget gate", section 3: half of the LSTM's parameters. beta > 0
    lets in more than is forgotten; their recommended value is 1. Gates f (that is s), g. The forget bias
    fills the row of f, row 0; there is no row of an input gate, so that chrono is b_f alone, as in the paper.
    (The authors' code draws it from log U(1, T_max), the paper and `chrono` up to T_max - 1.)
    In the trace, f = sigmoid(s) and i = 1 - sigmoid(s - beta).

    Args:
      hidden: H.
      beta: what the input gate's sum is less by; may be traced.
      forget_bias: as in `lstm`.
      forget_bias_trainable: as in `lstm`.
      gate_activation: in place of both sigmoids, as in `lstm`.
      activation: in place of tanh.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters, gate sums and c stay float32.
      layer: index of this layer.
      layers: L.

    Raises:
      UserError: what `lstm` refuses.
    """
    squash, bend = activation_function(gate_activation), activation_function(activation)
    name = cell_name("janet", (gate_activation, activation))

    def update(params: Params, carry: LSTMCarry, z: Array, r: Array) -> tuple[LSTMCarry, Array, Trace]:
        s, g = split_gates(z + r)
        return lstm_state(carry, 1.0 - squash(s - beta), squash(s), bend(g), None, ACTIVATIONS["identity"])

    bias = bias_rows(
        forget_bias,
        trainable=forget_bias_trainable,
        layer=layer,
        layers=layers,
        forget_row=0,
        input_row=None,
    )
    return gated(name, hidden, 2, LSTMCarry, update, init=init, dtype=dtype, bias=bias)
