"""A recurrent network with stacks that it pushes and pops by probabilities (Joulin & Mikolov 2015)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Carry, Cell, Trace
from lstm_jax.cells.gated import gated, product, units, wide
from lstm_jax.cells.initializers import Initializer
from lstm_jax.support.notation import Array, Key, Params
from lstm_jax.support.rng import stream

__all__ = ["StackRNNCarry", "Stacks", "stack_rnn", "with_memory"]


class StackRNNCarry(NamedTuple):
    """stack [B, N, S, W] float32, the top at 0 of axis S; h [B, H] in the compute dtype, the output."""

    stack: Array
    h: Array


class Stacks:
    """N stacks of S vectors of W numbers: their weights and their step, for any cell with an h.

    Args:
      name: of the cell, for its errors.
      stacks: N.
      slots: S; what is pushed beyond it is lost.
      width: W.

    Raises:
      UserError: a size that is no positive whole number.
    """

    field = "stack"

    def __init__(self, name: str, stacks: int, slots: int, width: int):
        self.stacks = units(stacks, f"{name}: stacks")
        self.slots = units(slots, f"{name}: slots")
        self.width = units(width, f"{name}: width")
        self.shape = (stacks, slots, width)

    def init(self, key: Key, draws: Initializer, hidden: int, gates: int) -> Params:
        """The weights: w_h_top [N W, G, H] from the tops; w_h_act [H, N, 3] and w_h_push [H, N, W] from h."""
        read = self.stacks * self.width
        return {
            "w_h_top": draws.w_h(stream(key, "top"), (read, gates, hidden)),
            "w_h_act": draws.w_h(stream(key, "act"), (hidden, self.stacks, 3)),
            "w_h_push": draws.w_h(stream(key, "push"), (hidden, self.stacks, self.width)),
            "b_act": draws.vector(stream(key, "b_act"), (self.stacks, 3)),
            "b_push": draws.vector(stream(key, "b_push"), (self.stacks, self.width)),
        }

    def read(self, params: Params, memory: Array, dtype: Any) -> Array:
        """What the tops of memory [B, N, S, W] add to the sums: [B, G, H]."""
        return product(memory[:, :, 0].reshape(memory.shape[0], -1).astype(dtype), params["w_h_top"])

    def step(self, params: Params, memory: Array, h: Array) -> Array:
        """The stacks after what the new h does to them."""
        act = jax.nn.softmax(product(h, params["w_h_act"]) + params["b_act"])[..., None, None]
        new = jax.nn.sigmoid(product(h, params["w_h_push"]) + params["b_push"])[:, :, None].astype(
            memory.dtype
        )
        pushed = jnp.concatenate([new, memory[:, :, :-1]], axis=2)
        popped = jnp.concatenate([memory[:, :, 1:], jnp.zeros_like(new)], axis=2)
        return act[:, :, 0] * pushed + act[:, :, 1] * popped + act[:, :, 2] * memory


def with_memory(cell: Cell, memory: Any, carry_type: Any, dtype: Any) -> Cell:
    """The cell of `gated` whose sums see a read of the memory beside h, and whose carry begins with it empty.

    Args:
      cell: its `update` does the rest, and its carry has the field `memory.field`.
      memory: `Stacks`, or what has their `read`, `field` and `shape`.
      carry_type: of the carry.
      dtype: compute dtype.
    """

    def carry(params: Params, batch: int) -> Carry:
        plain = cell.carry(params, batch)._asdict()
        return carry_type(**plain | {memory.field: jnp.zeros((batch, *memory.shape), wide(dtype))})

    def recur(params: Params, carry: Carry) -> Array:
        return cell.recur(params, carry) + memory.read(params, getattr(carry, memory.field), carry.h.dtype)

    return cell._replace(carry=carry, recur=recur, pointwise=False)


def stack_rnn(
    hidden: int,
    *,
    stacks: int = 1,
    slots: int = 32,
    width: int = 8,
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
) -> Cell:
    """The stack RNN: h' = tanh(x W_x + h W_h + top W_top + b), then the stack moves by what h' says.

    Joulin & Mikolov 2015, equations 5 to 9: (push, pop, no-op) = softmax(h' W_act + b_act), v = sigmoid(h'
    W_push + b_push), and each place of the stack becomes push * the place above (the top: v) + pop * the
    place below (the bottom: 0) + no-op * itself. There the network's function is the sigmoid, a place is one
    number and an empty one -1; Deletang et al. 2023 keep one stack of vectors of 8 with empty places 0, as
    here. The slots are no parameters: a model may be evaluated with more of them than it was trained with.
    Trace empty.

    `update` has a matmul from h' to the actions, so it is not pointwise. The backward keeps [T, B, N, S, W]
    numbers; `remat_chunk` of the model keeps fewer.

    Args:
      hidden: H.
      stacks: N.
      slots: S, places of a stack.
      width: W, numbers in a place.
      activation: in place of tanh, as in `elman`.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype of h and the matmuls; the stacks stay float32.

    Raises:
      UserError: a size that is no positive whole number, a bad activation or init.
    """
    memory = Stacks("stack_rnn", stacks, slots, width)
    bend = activation_function(activation)

    def extra(key: Key, draws: Initializer) -> Params:
        return memory.init(key, draws, hidden, 1)

    def update(
        params: Params, carry: StackRNNCarry, z: Array, r: Array
    ) -> tuple[StackRNNCarry, Array, Trace]:
        h = bend((z + r)[:, 0]).astype(carry.h.dtype)
        return StackRNNCarry(memory.step(params, carry.stack, h), h), h, {}

    name = cell_name("stack_rnn", (activation,), ("tanh",))
    cell = gated(name, hidden, 1, StackRNNCarry, update, init=init, dtype=dtype, extra=extra)
    return with_memory(cell, memory, StackRNNCarry, dtype)
