"""The LSTM whose output is projected down before it recurs (Sak, Senior & Beaufays 2014)."""

from typing import Any

import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, cell_name
from lstm_jax.cells.base import Cell
from lstm_jax.cells.forget_bias import ForgetBias, bias_rows
from lstm_jax.cells.gated import gated, product, units
from lstm_jax.cells.initializers import Initializer
from lstm_jax.cells.lstm import LSTMCarry, lstm_update
from lstm_jax.support.notation import Array, Key, Params, Tree

__all__ = ["projected_lstm"]


def projected_lstm(
    hidden: int,
    *,
    projection: int | None = None,
    forget_bias: ForgetBias = 1.0,
    forget_bias_trainable: bool = True,
    gate_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """The LSTM of c and h [B, H] whose gates and reader see y = h W_p [B, P] in the place of h.

    i, f, o = sigmoid(x W_x + y W_h + b), g = tanh(same); c' = f c + i g; h' = o tanh(c'); y' = h' W_p.
    Sak 2014, eq. 1 to 6, without its peepholes and its non-recurrent projection: torch.nn.LSTM(proj_size=P).

    The carry holds h and not y (where torch and flax hold y), so that `update` stays the LSTM's and the
    recurrent product, (h W_p) W_h, stays linear in the carry; y is found for all steps at once, by
    `finish`. Leaves beside the LSTM's: w_p [H, P]; w_h is [P, G, H].

    Args:
      hidden: H, the width of c.
      projection: P, the width of y; None: half of H, rounded up.
      forget_bias: as in `lstm`.
      forget_bias_trainable: as in `lstm`.
      gate_activation: as in `lstm`.
      activation: as in `lstm`.
      init: "lecun", "torch" (w_p then U(-1/sqrt(P), 1/sqrt(P)), a little wider than torch's) or "uniform(a)".
      dtype: compute dtype; parameters, gate sums and c stay float32.
      layer: index of this layer.
      layers: L.

    Raises:
      UserError: P is not a positive whole number, or what `lstm` refuses.
    """
    width = -(-units(hidden, "projected_lstm: hidden") // 2) if projection is None else projection
    units(width, "projected_lstm: projection")
    compute = jnp.dtype(dtype)

    def extra(key: Key, draws: Initializer) -> Params:
        return {"w_p": draws.w_x(key, (hidden, 1, width))[:, 0]}

    bias = bias_rows(forget_bias, trainable=forget_bias_trainable, layer=layer, layers=layers)
    inner = gated(
        cell_name("projected_lstm", (gate_activation, activation)),
        hidden,
        4,
        LSTMCarry,
        lstm_update(gate_activation, activation),
        init=init,
        dtype=dtype,
        bias=bias,
        extra=extra,
        source=width,
    )

    def prepare(params: Params, xs: Array, key: Key | None) -> tuple[Params, Tree]:
        seen, zs = inner.prepare(params, xs, key)
        return {**seen, "w_p": seen["w_p"].astype(compute)}, zs

    def finish(params: Params, ys: Array) -> Array:
        return product(ys, params["w_p"][:, None])[..., 0, :].astype(compute)

    def recur(params: Params, carry: LSTMCarry) -> Array:
        return product(finish(params, carry.h), params["w_h"])

    return inner._replace(output_dim=width, prepare=prepare, recur=recur, finish=finish)
