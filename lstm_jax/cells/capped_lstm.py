"""The LSTM whose input gate is capped, so that its state stays bounded (Melis, Dyer & Blunsom 2018)."""

from typing import Any

import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.forget_bias import ForgetBias, bias_rows
from lstm_jax.cells.gated import gated
from lstm_jax.cells.initializers import Initializer
from lstm_jax.cells.lstm import LSTMCarry, lstm_gates, lstm_state
from lstm_jax.support.notation import Array, Params

__all__ = ["capped_lstm"]


def capped_lstm(
    hidden: int,
    *,
    forget_bias: ForgetBias = 1.0,
    forget_bias_trainable: bool = True,
    gate_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """The LSTM with c' = f c + min(i, 1 - f) g, whose |c| never exceeds 1 once it is at most 1.

    Melis, Dyer & Blunsom 2018 ("On the state of the art of evaluation in neural language models"), used in
    their models of Penn Treebank and WikiText-2, and in the Mogrifier's. The rest is `lstm`, its arguments
    too; the forget bias fills row 1. The trace's i is the capped one.
    """
    squash, bend = activation_function(gate_activation), activation_function(activation)
    name = cell_name("capped_lstm", (gate_activation, activation))

    def update(params: Params, carry: LSTMCarry, z: Array, r: Array) -> tuple[LSTMCarry, Array, Trace]:
        i, f, g, o = lstm_gates(z + r, squash, bend)
        return lstm_state(carry, jnp.minimum(i, 1.0 - f), f, g, o, bend)

    bias = bias_rows(forget_bias, trainable=forget_bias_trainable, layer=layer, layers=layers)
    return gated(name, hidden, 4, LSTMCarry, update, init=init, dtype=dtype, bias=bias)
