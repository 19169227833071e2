"""The LSTM whose units each forget at a time scale of their own, fixed in advance (Mahto 2021)."""

from typing import Any

import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, cell_name
from lstm_jax.cells.base import Cell
from lstm_jax.cells.forget_bias import ForgetBias
from lstm_jax.cells.initializers import Initializer
from lstm_jax.cells.lstm import lstm
from lstm_jax.cells.spec import split_outside_parentheses
from lstm_jax.support.errors import UserError

__all__ = ["RECIPE", "multi_timescale"]

RECIPE = ("timescale(3, 4)", "timescale(inverse_gamma, 0.56, 1)", "free")
"""Mahto, Vo, Turek & Huth 2021, section 5, for the first, the second, and all further layers."""


def multi_timescale(
    hidden: int,
    *,
    timescales: str = "",
    gate_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """The LSTM with b_f = -log(e^(1/T) - 1) and b_i = -b_f fixed, so that f = exp(-1/T) at zero input.

    "Multi-timescale representation learning in LSTM language models", equations 6 to 8. The equations and
    the other arguments are those of `lstm`; this is a choice of its forget bias, which `forget_bias` does
    not touch. By the paper's recipe half of the first layer's units have T = 3 and half T = 4 tokens; the
    second layer's T are drawn from an inverse gamma distribution, whose tail makes the decay over all units
    a power law; further layers are free: their bias starts as `init` draws it, and trains. A single layer
    has the second's. (The paper takes quantiles of the inverse gamma; here T is drawn. The
    authors' code freezes all bias rows of the first two layers; here those of i and f alone are fixed.)

    Args:
      hidden: H.
      timescales: "" is the recipe; else a forget-bias form or "free", or one a layer between commas:
        "timescale(20)", "timescale(3, 4), timescale(inverse_gamma, 1.5, 1)".
      gate_activation: as in `lstm`.
      activation: as in `lstm`.
      init: as in `lstm`.
      dtype: as in `lstm`.
      layer: index of this layer.
      layers: L.

    Raises:
      UserError: as many time scales as there are not layers, or what `lstm` refuses.
    """
    if timescales:
        parts = split_outside_parentheses(timescales)
        if len(parts) not in (1, layers):
            raise UserError(
                f"timescales {timescales!r} gives {len(parts)} values for {layers} layers; "
                "give one value for all, or one a layer"
            )
        form = parts[layer % len(parts)]
    else:
        form = RECIPE[1] if layers == 1 else RECIPE[min(layer, 2)]
    bias: ForgetBias = 0.0 if form == "free" else form
    return lstm(
        hidden,
        forget_bias=bias,
        forget_bias_trainable=form == "free",
        gate_activation=gate_activation,
        activation=activation,
        init=init,
        dtype=dtype,
        layer=layer,
        layers=layers,
    )._replace(name=cell_name("multi_timescale", (gate_activation, activation)))
