"""The LSTM with a forget gate (Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.forget_bias import ForgetBias, bias_rows
from lstm_jax.cells.gated import gated, split_gates
from lstm_jax.cells.initializers import Initializer
from lstm_jax.notation import Array, Params

__all__ = ["LSTMCarry", "lstm", "lstm_gates", "lstm_state", "lstm_update"]


class LSTMCarry(NamedTuple):
    """c [B, H] float32, the cell state; h [B, H] in the compute dtype, the output. Flax's order."""

    c: Array
    h: Array


def lstm_gates(a: Array) -> tuple[Array, Array, Array, Array]:
    """The sums a [B, 4, H] -> i, f, g, o [B, H]."""
    i, f, g, o = split_gates(a)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


def lstm_state(carry: LSTMCarry, i: Array, f: Array, g: Array, o: Array) -> tuple[LSTMCarry, Array, Trace]:
    """What the gates [B, H] make of c and h: what `update` returns."""
    c = f * carry.c + i * g
    h = (o * jnp.tanh(c)).astype(carry.h.dtype)
    return LSTMCarry(c, h), h, {"i": i, "f": f, "g": g, "o": o, "c": c}


def lstm_update(params: Params, carry: LSTMCarry, z: Array, r: Array) -> tuple[LSTMCarry, Array, Trace]:
    """The LSTM's `update`."""
    return lstm_state(carry, *lstm_gates(z + r))


def lstm(
    hidden: int,
    *,
    forget_bias: ForgetBias = 1.0,
    forget_bias_trainable: bool = True,
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """The LSTM: i, f, o = sigmoid(x W_x + h W_h + b), g = tanh(same); c' = f c + i g; h' = o tanh(c').

    Gers 2000 without peepholes, as in Zaremba 2014, torch.nn.LSTM and flax. Gates i, f, g, o; b is one
    bias, where torch keeps two.

    Args:
      hidden: H.
      forget_bias: initial forget bias, see `forget_bias.parse`; a number may be traced.
      forget_bias_trainable: False freezes the rows that `forget_bias` fills.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters, gate sums and c stay float32.
      layer: index of this layer, and `layers` their number L: for values a layer.
      layers: L.

    Raises:
      UserError: a bad forget_bias, init or hidden.
    """
    bias = bias_rows(forget_bias, trainable=forget_bias_trainable, layer=layer, layers=layers)
    return gated("lstm", hidden, 4, LSTMCarry, lstm_update, init=init, dtype=dtype, bias=bias)
