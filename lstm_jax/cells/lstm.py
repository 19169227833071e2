"""The LSTM with a forget gate (Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Carry, Cell, Trace
from lstm_jax.cells.forget_bias import ForgetBias, bias_rows
from lstm_jax.cells.gated import gated, split_gates
from lstm_jax.cells.initializers import Initializer
from lstm_jax.support.notation import Array, Params

__all__ = ["LSTMCarry", "lstm", "lstm_gates", "lstm_state", "lstm_update"]


class LSTMCarry(NamedTuple):
    """c [B, H] float32, the cell state; h [B, H] in the compute dtype, the output. Flax's order."""

    c: Array
    h: Array


def lstm_gates(
    a: Array, gate_activation: Callable[[Array], Array], activation: Callable[[Array], Array]
) -> tuple[Array, Array, Array, Array]:
    """The sums a [B, 4, H] -> i, f, g, o [B, H]."""
    i, f, g, o = split_gates(a)
    i, f, o = (gate_activation(gate) for gate in (i, f, o))
    return i, f, activation(g), o


def lstm_state(
    carry: Carry,
    i: Array | None,
    f: Array | None,
    g: Array,
    o: Array | Callable[[Array], Array | None] | None,
    activation: Callable[[Array], Array],
) -> tuple[LSTMCarry, Array, Trace]:
    """What the gates make of c and h: c' = f c + i g, h' = o activation(c').

    Args:
      carry: with c and h, as in `LSTMCarry`.
      i: input gate [B, H]; None where there is none, as if it were 1. So with f and o.
      f: forget gate.
      g: candidate.
      o: output gate; or a function of the new c that gives it, where the gate sees that.
      activation: of the state on its way out.

    Returns:
      What `update` returns; the trace has the gates that there are, and c.
    """
    c = _gated(f, carry.c) + _gated(i, g)
    o = o(c) if callable(o) else o
    h = _gated(o, activation(c)).astype(carry.h.dtype)
    trace = {"i": i, "f": f, "g": g, "o": o, "c": c}
    return LSTMCarry(c, h), h, {name: value for name, value in trace.items() if value is not None}


def _gated(gate: Array | None, value: Array) -> Array:
    return value if gate is None else gate * value


def lstm_update(
    gate_activation: Activation, activation: Activation
) -> Callable[[Params, LSTMCarry, Array, Array], tuple[LSTMCarry, Array, Trace]]:
    """The LSTM's `update` with these functions.

    Raises:
      UserError: an unknown activation.
    """
    squash, bend = activation_function(gate_activation), activation_function(activation)

    def update(params: Params, carry: LSTMCarry, z: Array, r: Array) -> tuple[LSTMCarry, Array, Trace]:
        return lstm_state(carry, *lstm_gates(z + r, squash, bend), bend)

    return update


def lstm(
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
    """The LSTM: i, f, o = sigmoid(x W_x + h W_h + b), g = tanh(same); c' = f c + i g; h' = o tanh(c').

    Gers 2000 without peepholes, as in Zaremba 2014, torch.nn.LSTM and flax. Gates i, f, g, o; b is one
    bias, where torch keeps two.

    Args:
      hidden: H.
      forget_bias: initial forget bias, see `forget_bias.parse`; a number may be traced.
      forget_bias_trainable: False freezes the rows that `forget_bias` fills.
      gate_activation: in place of the sigmoid of i, f and o: a name of `activations.ACTIVATIONS`.
      activation: in place of both tanh.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters, gate sums and c stay float32.
      layer: index of this layer, and `layers` their number L: for values a layer.
      layers: L.

    Raises:
      UserError: a bad forget_bias, activation, init or hidden.
    """
    name = cell_name("lstm", (gate_activation, activation))
    update = lstm_update(gate_activation, activation)
    bias = bias_rows(forget_bias, trainable=forget_bias_trainable, layer=layer, layers=layers)
    return gated(name, hidden, 4, LSTMCarry, update, init=init, dtype=dtype, bias=bias)
