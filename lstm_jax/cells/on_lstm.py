"""The ordered-neurons LSTM (Shen, Tan, Sordoni & Courville 2019): units that forget in an order."""

from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.forget_bias import ForgetBias, bias_rows
from lstm_jax.cells.gated import gated, product, split_gates, units
from lstm_jax.cells.initializers import Initializer, initializer
from lstm_jax.cells.lstm import LSTMCarry, lstm_gates, lstm_state
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params, Tree
from lstm_jax.support.rng import stream

__all__ = ["on_lstm"]


def on_lstm(
    hidden: int,
    *,
    chunk: int | None = None,
    forget_bias: ForgetBias = 1.0,
    forget_bias_trainable: bool = True,
    gate_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """The LSTM whose forget and input gates act between two levels that move up and down the units.

    Master gates, one a chunk of C units: F = cumsum(softmax(x W_F + h U_F + b_F)), rising to 1 along the
    units, and I = 1 - cumsum(softmax(the same of I)), falling to 0. With both = F I, and i, f, g, o the
    LSTM's: f^ = f both + (F - both), i^ = i both + (I - both), c' = f^ c + i^ g, h' = o tanh(c'). Low units
    are rewritten often, high ones kept for long. Shen 2019, eq. 1 to 14.

    The trace has f^ and i^ as `f` and `i`, and the master gates as `f_master` and `i_master`, each [B, H].
    As published, F ends at 1 and I at 0: the last chunk's c is never written. Leaves beside the LSTM's:
    w_x_master [D, 2, H/C], w_h_master [H, 2, H/C] and b_master [2, H/C], rows F and I. The forget bias fills
    row 1 of `b`, f's, and not F's. `update` is not pointwise (cumulative sums).

    Args:
      hidden: H.
      chunk: C, units that share a master gate; divides H and leaves two chunks or more. None: the largest
        such number up to the paper's 10.
      forget_bias: as in `lstm`.
      forget_bias_trainable: as in `lstm`.
      gate_activation: of i, f and o, as in `lstm`; F and I have none: they rise and fall by their softmax.
      activation: as in `lstm`.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters, gate sums and c stay float32.
      layer: index of this layer.
      layers: L.

    Raises:
      UserError: a chunk that does not divide H, H = 1, or what `lstm` refuses.
    """
    allowed = [c for c in range(1, units(hidden, "on_lstm: hidden")) if hidden % c == 0]
    if not allowed:
        raise UserError("on_lstm: hidden=1 has no order; it needs 2 units or more")
    size = max(c for c in allowed if c <= 10) if chunk is None else chunk
    if type(size) is not int or size not in allowed:
        raise UserError(
            f"on_lstm: chunk={chunk} must divide hidden={hidden} into two chunks or more; "
            f"allowed: {', '.join(map(str, allowed))}"
        )
    squash, bend = activation_function(gate_activation), activation_function(activation)
    name = cell_name("on_lstm", (gate_activation, activation))
    levels, compute, draws = hidden // size, jnp.dtype(dtype), initializer(init)

    def update(params: Params, carry: LSTMCarry, z: Tree, r: Tree) -> tuple[LSTMCarry, Array, Trace]:
        (z, z_master), (r, r_master) = z, r
        i, f, g, o = lstm_gates(z + r, squash, bend)
        rise, fall = (
            # Rounded sums end a little above 1, where F would grow the memory and I be below 0.
            jnp.repeat(jnp.minimum(jnp.cumsum(jax.nn.softmax(a, axis=-1), axis=-1), 1.0), size, axis=-1)
            for a in split_gates(z_master + r_master)
        )
        f_master, i_master = rise, 1.0 - fall
        both = f_master * i_master
        f = f * both + (f_master - both)
        i = i * both + (i_master - both)
        after, y, trace = lstm_state(carry, i, f, g, o, bend)
        return after, y, {**trace, "f_master": f_master, "i_master": i_master}

    bias = bias_rows(forget_bias, trainable=forget_bias_trainable, layer=layer, layers=layers)
    inner = gated(name, hidden, 4, LSTMCarry, update, init=init, dtype=dtype, bias=bias)

    def init_params(key: Key, input_dim: int) -> Params:
        own = stream(key, "master")
        return {
            **inner.init(key, input_dim),
            "w_x_master": draws.w_x(stream(own, "w_x"), (input_dim, 2, levels)),
            "w_h_master": draws.w_h(stream(own, "w_h"), (hidden, 2, levels)),
            "b_master": draws.b(stream(own, "b"), (2, levels)),
        }

    def prepare(params: Params, xs: Array, key: Key | None) -> tuple[Params, Tree]:
        seen, zs = inner.prepare(params, xs, key)
        masters = product(xs.astype(compute), params["w_x_master"].astype(compute)) + params["b_master"]
        return {leaf: seen[leaf] for leaf in ("w_h", "w_h_master")}, (zs, masters)

    def recur(params: Params, carry: LSTMCarry) -> Tree:
        return inner.recur(params, carry), product(carry.h, params["w_h_master"])

    return inner._replace(init=init_params, prepare=prepare, recur=recur, pointwise=False)
