"""The UR-LSTM: a forget gate that a second gate refines, started uniform (Gu 2020)."""

from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.forget_bias import ForgetBias, bias_rows, parse
from lstm_jax.cells.gated import gated, split_gates
from lstm_jax.cells.initializers import Initializer
from lstm_jax.cells.lstm import LSTMCarry, lstm_state
from lstm_jax.support.notation import Array, Params

__all__ = ["refined", "ur_lstm"]


def refined(f: Array, r: Array) -> Array:
    """F moved by r within its band: r (1 - (1 - f)^2) + (1 - r) f^2, from f^2 (r = 0) to 1 - (1 - f)^2."""
    return r * (1.0 - (1.0 - f) ** 2) + (1.0 - r) * f**2


def ur_lstm(
    hidden: int,
    *,
    forget_bias: ForgetBias = "uniform",
    forget_bias_trainable: bool = True,
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """The LSTM with uniform gate initialisation and refine gates, input gate tied.

    r, u, o = sigmoid(x W_x + h W_h + b), g = tanh(same); f = r (1 - (1 - u)^2) + (1 - r) u^2;
    c' = f c + (1 - f) g; h' = o tanh(c'). Gu, Gulcehre, Paine, Hoffman & Pascanu 2020 ("Improving the gating
    mechanism of recurrent neural networks"), sections 3.2 and 3.3. A u near 1 can still be moved nearer: to
    1 - (1 - u)^2, a time scale that is the square of u's own, without u's saturating.

    Gates r (refine), f, g, o. The forget bias fills row 1, of u, and row 0, of r, starts at its negative,
    whatever the form. In the trace f is the refined gate, `forget` is u. The gates are sigmoids always: f is
    between u^2 and 1 - (1 - u)^2 only for u in [0, 1], and the start is uniform only by the sigmoid.

    Args:
      hidden: H.
      forget_bias: as in `lstm`; "uniform" is the paper's, and needs two units.
      forget_bias_trainable: as in `lstm`.
      activation: as in `lstm`.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters, gate sums and c stay float32.
      layer: index of this layer.
      layers: L.

    Raises:
      UserError: what `lstm` refuses.
    """
    bend = activation_function(activation)

    def update(params: Params, carry: LSTMCarry, z: Array, r: Array) -> tuple[LSTMCarry, Array, Trace]:
        refine, forget, g, o = split_gates(z + r)
        refine, forget, o = (jax.nn.sigmoid(gate) for gate in (refine, forget, o))
        f = refined(forget, refine)
        after, y, trace = lstm_state(carry, 1.0 - f, f, bend(g), o, bend)
        return after, y, {**trace, "r": refine, "forget": forget}

    form = parse(forget_bias, layer, layers)._replace(opposite=True)
    bias = bias_rows(form, trainable=forget_bias_trainable, layer=layer, layers=layers)
    name = cell_name("ur_lstm", (activation,), ("tanh",))
    return gated(name, hidden, 4, LSTMCarry, update, init=init, dtype=dtype, bias=bias)
