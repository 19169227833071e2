"""An LSTM whose connections to the candidate change while it runs (Miconi 2019, "Backpropamine")."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.cells.activations import Activation, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.forget_bias import ForgetBias
from lstm_jax.cells.initializers import Initializer
from lstm_jax.cells.lstm import LSTMCarry, lstm
from lstm_jax.cells.plastic import outer, plastic_sum, started_alpha
from lstm_jax.cells.rates import rate_is_zero
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params
from lstm_jax.support.registry import check_name
from lstm_jax.support.rng import stream

__all__ = ["PlasticLSTMCarry", "plastic_lstm"]


class PlasticLSTMCarry(NamedTuple):
    """c [B, H] float32; h [B, H] in the compute dtype; hebb [B, H, H] float32, from h to g."""

    c: Array
    h: Array
    hebb: Array


def plastic_lstm(
    hidden: int,
    *,
    modulation: str = "none",
    eta: float | Array = 0.01,
    alpha: float | Array = 1e-4,
    clip: float = 2.0,
    forget_bias: ForgetBias = 1.0,
    forget_bias_trainable: bool = True,
    gate_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """The LSTM with g = tanh(x W_xg + h (W_hg + alpha * Hebb) + b_g), and Hebb' = clip(Hebb + h^T (eta g)).

    Miconi 2019, section 3.4: only the weights from h to the candidate g are plastic; the rest is `lstm`. h is
    the one before the step, g the one of the step. Modulation "none": eta is one trained number. "state": the
    network decides when to learn, eta_t = eta + fan_out tanh(h' w_m + b_m) with h' the new h, a number a
    sequence fanned out to the units by the trained eta [H] and fan_out [H]. alpha = 0 is the LSTM. (The
    authors divide alpha's gradient by H where there is one alpha a neuron or one in all, and not for the full
    matrix, which is the form here.)

    The forget bias fills row 1, as in `lstm`. `update` is not pointwise. The backward keeps [T, B, H, H]
    numbers; `remat_chunk` of the model keeps fewer.

    Args:
      hidden: H.
      modulation: "none" or "state".
      eta: where the learning rate of Hebb starts, in [0, 1]; may be traced.
      alpha: the plasticities, leaf `alpha` [H, H], start at U(0, alpha); may be traced.
      clip: Hebb stays within -clip and clip.
      forget_bias: as in `lstm`.
      forget_bias_trainable: as in `lstm`.
      gate_activation: as in `lstm`.
      activation: as in `lstm`; the modulation's tanh stays.
      init: "lecun", "torch" or "uniform(a)", for the LSTM's own weights.
      dtype: compute dtype; parameters, gate sums, c and Hebb with its product stay float32.
      layer: index of this layer.
      layers: L.

    Raises:
      UserError: an unknown modulation, a bad eta or clip, or what `lstm` refuses.
    """
    check_name(modulation, ("none", "state"), "modulation of the cell 'plastic_lstm'")
    rate_is_zero(eta, "plastic_lstm eta")
    if not clip > 0:
        raise UserError(f"plastic_lstm: clip {clip} must be positive, e.g. 2")
    inner = lstm(
        hidden,
        forget_bias=forget_bias,
        forget_bias_trainable=forget_bias_trainable,
        gate_activation=gate_activation,
        activation=activation,
        init=init,
        dtype=dtype,
        layer=layer,
        layers=layers,
    )
    candidate = (np.arange(4) == 2)[:, None]

    def init_params(key: Key, input_dim: int) -> Params:
        params = inner.init(key, input_dim)
        own = stream(key, "plastic")
        params |= {"alpha": started_alpha(own, hidden, alpha), "eta": jnp.asarray(eta, jnp.float32)}
        if modulation == "state":  # the bounds are torch's for linear layers of H inputs, and of one
            bound = hidden**-0.5
            params |= {
                "eta": jnp.full(hidden, eta, jnp.float32),
                "w_m": jax.random.uniform(stream(own, "w_m"), (hidden,), jnp.float32, -bound, bound),
                "b_m": jnp.zeros((), jnp.float32),
                "fan_out": jax.random.uniform(stream(own, "fan_out"), (hidden,), jnp.float32, -1.0, 1.0),
            }
        return params

    def carry(params: Params, batch: int) -> PlasticLSTMCarry:
        c, h = inner.carry(params, batch)
        return PlasticLSTMCarry(c, h, jnp.zeros((batch, hidden, hidden), c.dtype))

    def update(
        params: Params, carry: PlasticLSTMCarry, z: Array, r: Array
    ) -> tuple[PlasticLSTMCarry, Array, Trace]:
        through = plastic_sum(carry.h, params["alpha"], carry.hebb)
        r = r + jnp.where(candidate, through[:, None, :], 0.0)
        after, y, trace = inner.update(params, LSTMCarry(carry.c, carry.h), z, r)
        rate = params["eta"]
        if modulation == "state":
            level = jnp.tanh(after.h.astype(rate.dtype) @ params["w_m"] + params["b_m"])
            rate = rate + params["fan_out"] * level[:, None]
            trace = {**trace, "eta": rate}
        hebb = jnp.clip(carry.hebb + outer(carry.h, rate * trace["g"]), -clip, clip)
        return PlasticLSTMCarry(after.c, after.h, hebb), y, trace

    name = cell_name("plastic_lstm", (gate_activation, activation))
    return inner._replace(name=name, init=init_params, carry=carry, update=update, pointwise=False)
