"""ParaRNN's LSTM: coupled gates, peepholes, and recurrent weights that are diagonal (Danieli et al. 2026)."""

from typing import Any

import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.diagonal import diagonal
from lstm_jax.cells.forget_bias import ForgetBias, bias_rows
from lstm_jax.cells.gated import split_gates
from lstm_jax.cells.initializers import Initializer
from lstm_jax.cells.lstm import LSTMCarry, lstm_state
from lstm_jax.support.notation import Array, Key, Params

__all__ = ["para_lstm"]


def para_lstm(
    hidden: int,
    *,
    heads: int = 1,
    forget_bias: ForgetBias = 1.0,
    forget_bias_trainable: bool = True,
    gate_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """The LSTM whose units recur by themselves: c' = f c + (1 - f) g, h' = o tanh(c').

    f = sigmoid(x W_x + w h + p c + b), g = tanh(x W_x + w h + b), o = sigmoid(x W_x + w h + p c' + b). w and
    p are vectors, products with them elementwise. Danieli et al., "ParaRNN: Unlocking Parallel Training of
    Nonlinear RNNs for Large Language Models" (2026), the LSTM of section 3: Greff's "cifg" with diagonal
    recurrent weights. A unit sees the others in the next layer only. The Jacobian of a step is H blocks of
    two by two. Rows: f, g, o; `peephole` [2, H] has rows f and o.

    Args:
      hidden: H.
      heads: parts of the input projection, as in `gated.gated`; D must be divisible by it.
      forget_bias: as in `lstm`.
      forget_bias_trainable: as in `lstm`.
      gate_activation: of f and o, as in `lstm`.
      activation: in place of both tanh.
      init: "lecun", "torch" or "uniform(a)"; w_h: see `diagonal.diagonal`.
      dtype: compute dtype; parameters, gate sums and c stay float32.
      layer: index of this layer.
      layers: L.

    Raises:
      UserError: heads that do not divide H or D, or what `lstm` refuses.
    """
    squash, bend = activation_function(gate_activation), activation_function(activation)
    name = cell_name("para_lstm", (gate_activation, activation))

    def update(params: Params, carry: LSTMCarry, z: Array, r: Array) -> tuple[LSTMCarry, Array, Trace]:
        f, g, o = split_gates(z + r)
        of_f, of_o = params["peephole"]
        f = squash(f + of_f * carry.c)
        return lstm_state(carry, 1.0 - f, f, bend(g), lambda c: squash(o + of_o * c), bend)

    def extra(key: Key, draws: Initializer) -> Params:
        return {"peephole": draws.vector(key, (2, hidden))}

    bias = bias_rows(
        forget_bias,
        trainable=forget_bias_trainable,
        layer=layer,
        layers=layers,
        forget_row=0,
        input_row=None,
    )
    return diagonal(
        name, hidden, 3, LSTMCarry, update, extra=extra, init=init, dtype=dtype, bias=bias, heads=heads
    )
