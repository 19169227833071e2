"""The LSTM with layer normalisation (Ba, Kiros & Hinton 2016)."""

from typing import Any

import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.forget_bias import ForgetBias, bias_rows
from lstm_jax.cells.gated import gated
from lstm_jax.cells.initializers import Initializer
from lstm_jax.cells.layer_norm import layer_norm
from lstm_jax.cells.lstm import LSTMCarry, lstm_gates, lstm_state
from lstm_jax.support.notation import Array, Key, Params

__all__ = ["layer_norm_lstm"]


def _over_all_gates(sums: Array, gain: Array) -> Array:
    """LN of sums [..., G, H] over their G H numbers together; gain [G, H]."""
    flat = layer_norm(sums.reshape(*sums.shape[:-2], -1), gain.reshape(-1), jnp.zeros(()))
    return flat.reshape(sums.shape)


def layer_norm_lstm(
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
    """The LSTM whose sums are LN(x W_x; gain_x) + LN(h W_h; gain_h) + b, with h' = o tanh(LN(c'; gain_c)).

    LN takes the mean from its argument and divides by the standard deviation; that of the sums goes over all
    4 H of them together. Ba, Kiros & Hinton 2016, supplementary material, equations 20 to 22; b stands for
    their three shifts, of both LN and the gates, which only ever appear as a sum. Gains [4, H], [4, H] and
    [H] start at 1; LN(c') has a shift, too, `shift_c` [H] from 0. The trace's c is the state before its LN.

    The forget bias fills row 1, as in `lstm`, and is not normalised. `update` is not pointwise; the recurrent
    product is linear, and the input's LN is done for all steps at once.

    Args:
      hidden: H.
      forget_bias: as in `lstm`.
      forget_bias_trainable: as in `lstm`.
      gate_activation: as in `lstm`.
      activation: as in `lstm`.
      init: "lecun", "torch" or "uniform(a)", for the weights and b.
      dtype: compute dtype of the products; parameters, all of LN, gate sums and c stay float32.
      layer: index of this layer.
      layers: L.

    Raises:
      UserError: what `lstm` refuses.
    """
    squash, bend = activation_function(gate_activation), activation_function(activation)

    def update(params: Params, carry: LSTMCarry, z: Array, r: Array) -> tuple[LSTMCarry, Array, Trace]:
        gates = lstm_gates(z + _over_all_gates(r, params["gain_h"]), squash, bend)

        def bend_normed(c: Array) -> Array:
            return bend(layer_norm(c, params["gain_c"], params["shift_c"]))

        return lstm_state(carry, *gates, bend_normed)

    def extra(key: Key, draws: Initializer) -> Params:
        gains = {"gain_x": jnp.ones((4, hidden)), "gain_h": jnp.ones((4, hidden)), "gain_c": jnp.ones(hidden)}
        return {**gains, "shift_c": jnp.zeros(hidden)}

    cell = gated(
        cell_name("layer_norm_lstm", (gate_activation, activation)),
        hidden,
        4,
        LSTMCarry,
        update,
        init=init,
        dtype=dtype,
        bias=bias_rows(forget_bias, trainable=forget_bias_trainable, layer=layer, layers=layers),
        extra=extra,
        on_input=lambda params, sums: _over_all_gates(sums, params["gain_x"]),
    )
    return cell._replace(pointwise=False)
