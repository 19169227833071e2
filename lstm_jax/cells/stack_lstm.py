"""An LSTM with stacks that it pushes and pops by probabilities (after Joulin & Mikolov 2015)."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.forget_bias import ForgetBias, bias_rows
from lstm_jax.cells.gated import gated
from lstm_jax.cells.initializers import Initializer
from lstm_jax.cells.lstm import LSTMCarry, lstm_update
from lstm_jax.cells.stack_rnn import Stacks, with_memory
from lstm_jax.support.notation import Array, Key, Params

__all__ = ["StackLSTMCarry", "stack_lstm"]


class StackLSTMCarry(NamedTuple):
    """c [B, H] and stack [B, N, S, W], float32; h [B, H] in the compute dtype."""

    c: Array
    h: Array
    stack: Array


def stack_lstm(
    hidden: int,
    *,
    stacks: int = 1,
    slots: int = 32,
    width: int = 8,
    forget_bias: ForgetBias = 1.0,
    forget_bias_trainable: bool = True,
    gate_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """The LSTM whose four gates see the tops of N stacks, which move by what its new h says.

    The stacks are those of `stack_rnn` (Joulin & Mikolov 2015, equations 5 to 9); the LSTM in place of the
    simple network is the obvious combination, as in the Stack-LSTM of the code of Deletang et al. 2023. With
    W_top = 0 it is the LSTM. The trace is the LSTM's.

    Args:
      hidden: H.
      stacks: N.
      slots: S, places of a stack.
      width: W, numbers in a place.
      forget_bias: as in `lstm`.
      forget_bias_trainable: as in `lstm`.
      gate_activation: as in `lstm`.
      activation: as in `lstm`.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters, gate sums, c and the stacks stay float32.
      layer: index of this layer.
      layers: L.

    Raises:
      UserError: a size that is no positive whole number, or what `lstm` refuses.
    """
    memory = Stacks("stack_lstm", stacks, slots, width)
    lstm_step = lstm_update(gate_activation, activation)
    bias = bias_rows(forget_bias, trainable=forget_bias_trainable, layer=layer, layers=layers)

    def extra(key: Key, draws: Initializer) -> Params:
        return memory.init(key, draws, hidden, 4)

    def update(
        params: Params, carry: StackLSTMCarry, z: Array, r: Array
    ) -> tuple[StackLSTMCarry, Array, Trace]:
        after, y, trace = lstm_step(params, LSTMCarry(carry.c, carry.h), z, r)
        return StackLSTMCarry(*after, memory.step(params, carry.stack, after.h)), y, trace

    name = cell_name("stack_lstm", (gate_activation, activation))
    cell = gated(name, hidden, 4, StackLSTMCarry, update, init=init, dtype=dtype, bias=bias, extra=extra)
    return with_memory(cell, memory, StackLSTMCarry, dtype)
