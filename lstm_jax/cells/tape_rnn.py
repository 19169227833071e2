"""A recurrent network with a tape under a head that moves by probabilities (Suzgun 2019; Deletang 2023)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.gated import gated, product, units
from lstm_jax.cells.initializers import Initializer
from lstm_jax.cells.stack_rnn import with_memory
from lstm_jax.support.notation import Array, Key, Params
from lstm_jax.support.rng import stream

__all__ = ["TapeRNNCarry", "tape_rnn"]

ACTIONS = 5
"""Stay, a cell left, a cell right, a jump left, a jump right."""


class TapeRNNCarry(NamedTuple):
    """tape [B, S, W] float32, a ring turned so that the head is at 0; read [B] float32, steps; h [B, H]."""

    tape: Array
    read: Array
    h: Array


class _Tape:
    """A tape of S cells of W numbers; what `with_memory` asks for, and its step."""

    field = "tape"

    def __init__(self, slots: int, width: int):
        self.shape = (units(slots, "tape_rnn: slots"), units(width, "tape_rnn: width"))

    def read(self, params: Params, memory: Array, dtype: Any) -> Array:
        """What the cell under the head adds to the sums: [B, 1, H]."""
        return product(memory[:, 0].astype(dtype), params["w_h_top"])

    def step(self, params: Params, memory: Array, h: Array, jump: Array) -> Array:
        """The tape after the new h has written and moved; `jump` [B] cells far."""
        act = jax.nn.softmax(product(h, params["w_h_act"]) + params["b_act"])  # [B, 1, 5]
        new = (product(h, params["w_h_write"]) + params["b_write"]).astype(memory.dtype)  # [B, 1, W]
        written = jnp.concatenate([new, memory[:, 1:]], axis=1)
        place = jnp.arange(memory.shape[1])
        far = jnp.floor(jump + 0.5).astype(jnp.int32)[:, None]

        def jumped(by: Array) -> Array:
            return jnp.take_along_axis(written, ((place + by) % len(place))[..., None], axis=1)

        moved = [written, jnp.roll(written, 1, 1), jnp.roll(written, -1, 1), jumped(-far), jumped(far)]
        return sum((act[:, :, k, None] * tape for k, tape in enumerate(moved)), jnp.zeros_like(written))


def tape_rnn(
    hidden: int,
    *,
    slots: int = 64,
    width: int = 8,
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
) -> Cell:
    """The tape RNN: h' = tanh(x W_x + h W_h + m W_top + b), m under the head; then h' writes and moves.

    Suzgun et al. 2019 (the Baby-NTM: a tape that is moved as a whole, by the softmax of a linear function of
    h'), with the actions of Deletang et al. 2023: v = h' W_write + b_write replaces what is under the head,
    then the tape is the mixture, by softmax(h' W_act + b_act), of itself where the head stays, goes a cell to
    the left or right, or jumps to the left or right. Their jump is as long as the input, which a causal cell
    does not know; here it is as long as the input SO FAR: at the first blank step behind the input both are
    the same. (They write through two hidden layers of 64 units.) The tape is a ring; its cells are no
    parameters. Trace empty.

    `update` has a matmul from h' to the actions, so it is not pointwise. The backward keeps [T, B, S, W]
    numbers several times; `remat_chunk` of the model keeps fewer.

    Args:
      hidden: H.
      slots: S, cells of the tape.
      width: W, numbers in a cell.
      activation: in place of tanh, as in `elman`.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype of h and the matmuls; the tape stays float32.

    Raises:
      UserError: a size that is no positive whole number, a bad activation or init.
    """
    memory = _Tape(slots, width)
    bend = activation_function(activation)

    def extra(key: Key, draws: Initializer) -> Params:
        return {
            "w_h_top": draws.w_h(stream(key, "top"), (width, 1, hidden)),
            "w_h_act": draws.w_h(stream(key, "act"), (hidden, 1, ACTIONS)),
            "w_h_write": draws.w_h(stream(key, "write"), (hidden, 1, width)),
            "b_act": draws.vector(stream(key, "b_act"), (1, ACTIONS)),
            "b_write": draws.vector(stream(key, "b_write"), (1, width)),
        }

    def update(params: Params, carry: TapeRNNCarry, z: Array, r: Array) -> tuple[TapeRNNCarry, Array, Trace]:
        h = bend((z + r)[:, 0]).astype(carry.h.dtype)
        tape = memory.step(params, carry.tape, h, carry.read)
        return TapeRNNCarry(tape, carry.read + 1.0, h), h, {}

    name = cell_name("tape_rnn", (activation,), ("tanh",))
    cell = gated(name, hidden, 1, TapeRNNCarry, update, init=init, dtype=dtype, extra=extra)
    whole = with_memory(cell, memory, TapeRNNCarry, dtype)

    def carry(params: Params, batch: int) -> TapeRNNCarry:
        empty = whole.carry(params, batch)
        return empty._replace(read=jnp.zeros(batch, empty.tape.dtype))

    return whole._replace(carry=carry)
