"""An LSTM that attends over its own past states (after Cheng 2016, LSTMN, and Daniluk 2017)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.forget_bias import ForgetBias, bias_rows
from lstm_jax.cells.gated import gated, product
from lstm_jax.cells.initializers import Initializer
from lstm_jax.cells.lstm import LSTMCarry, lstm_update
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params

__all__ = ["AttentionLSTMCarry", "attend", "attention_lstm"]


class AttentionLSTMCarry(NamedTuple):
    """c [B, H] float32; h [B, H] in the compute dtype; memory [B, M, H] and held [B], float32.

    memory[:, k] is the h of k + 1 steps ago, for the `held` first k; the rest was never written.
    """

    c: Array
    h: Array
    memory: Array
    held: Array


def attend(query: Array, memory: Array, held: Array) -> tuple[Array, Array]:
    """Scaled dot-product attention: query [B, H], memory [B, M, H], held [B] -> weights [B, M], read [B, H].

    The weights are softmax_k(query memory_k / sqrt(H)) over the first `held` slots of each sequence and 0 on
    the others; where none is held all are 0, and so is the read.
    """
    valid = jnp.arange(memory.shape[1]) < held[:, None]
    scores = jnp.einsum("bh,bmh->bm", query, memory) * memory.shape[-1] ** -0.5
    scores = jnp.where(valid, scores, jnp.finfo(scores.dtype).min)
    weights = jnp.where(valid, jax.nn.softmax(scores), 0.0)
    return weights, jnp.einsum("bm,bmh->bh", weights, memory)


def attention_lstm(
    hidden: int,
    *,
    slots: int = 32,
    forget_bias: ForgetBias = 1.0,
    forget_bias_trainable: bool = True,
    gate_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """The LSTM whose four gates also see a read of its last M states: + read W_r in each gate's sum.

    q = x W_xq + h W_hq + b_q; the read is softmax(q h_k / sqrt(H)) over the past states h_k, those of the
    last M = `slots` steps, and enters the sums of i, f, g and o within the same step, W_r being the leaf
    `w_h_read` [H, 4, H]. Cheng, Dong & Lapata 2016 (equations 5 to 9) attend over all past states and let the
    read replace h; here it joins h, the memory is bounded as in Daniluk 2017, and the score is a dot product.
    Where nothing has passed the read is 0, and the cell is the LSTM.

    The query is the fifth row of the weights; the forget bias fills row 1, as in `lstm`. `update` is not
    pointwise. The memory is newest first, so that the trace `attention` [B, M] is the attention by lag. The
    backward keeps the memory of every step, [T, B, M, H], and T gradients [H, 4, H] of W_r till it adds them
    up; `remat_chunk` of a model keeps fewer.

    Args:
      hidden: H.
      slots: M, past states that are kept.
      forget_bias: as in `lstm`.
      forget_bias_trainable: as in `lstm`.
      gate_activation: as in `lstm`.
      activation: as in `lstm`.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters, gate sums, c and the memory with its attention stay float32.
      layer: index of this layer.
      layers: L.

    Raises:
      UserError: slots is no positive whole number, or what `lstm` refuses.
    """
    if not isinstance(slots, int) or slots < 1:
        raise UserError(f"attention_lstm: slots must be a positive whole number of states, not {slots!r}")
    step = lstm_update(gate_activation, activation)
    bias = bias_rows(forget_bias, trainable=forget_bias_trainable, layer=layer, layers=layers)

    def extra(key: Key, draws: Initializer) -> Params:
        return {"w_h_read": draws.w_h(key, (hidden, 4, hidden))}

    def update(
        params: Params, carry: AttentionLSTMCarry, z: Array, r: Array
    ) -> tuple[AttentionLSTMCarry, Array, Trace]:
        weights, read = attend(z[:, 4] + r[:, 4], carry.memory, carry.held)
        r = r[:, :4] + product(read.astype(carry.h.dtype), params["w_h_read"])
        after, y, trace = step(params, LSTMCarry(carry.c, carry.h), z[:, :4], r)
        memory = jnp.concatenate([after.h[:, None].astype(read.dtype), carry.memory[:, :-1]], axis=1)
        held = jnp.minimum(carry.held + 1.0, slots)
        return AttentionLSTMCarry(*after, memory, held), y, {**trace, "attention": weights}

    name = cell_name("attention_lstm", (gate_activation, activation))
    cell = gated(name, hidden, 5, LSTMCarry, update, init=init, dtype=dtype, bias=bias, extra=extra)

    def carry(params: Params, batch: int) -> AttentionLSTMCarry:
        c, h = cell.carry(params, batch)
        return AttentionLSTMCarry(c, h, jnp.zeros((batch, slots, hidden), c.dtype), jnp.zeros(batch, c.dtype))

    return cell._replace(carry=carry, pointwise=False)
