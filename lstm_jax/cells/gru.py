"""The gated recurrent unit, in the form whose recurrent product stays linear (PyTorch, cuDNN, flax)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.gated import gated
from lstm_jax.cells.initializers import Initializer, initializer
from lstm_jax.support.notation import Array, Key, Params

__all__ = ["GRUCarry", "gru"]


class GRUCarry(NamedTuple):
    """h [B, H] in the compute dtype."""

    h: Array


def gru(
    hidden: int,
    *,
    gate_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
) -> Cell:
    """The GRU: r, z = sigmoid(x W_x + h W_h + b), n = tanh(z_n + r * (h W_hn + b_hn)), h' = (1-z) n + z h.

    Cho 2014 multiplies r into h before the product; here, as in cuDNN, after it. Gates r, z, n. The leaf
    `b_h` [H] is b_hn, the one recurrent bias that does not merge with `b`.

    Args:
      hidden: H.
      gate_activation: in place of the sigmoid of r and z: a name of `activations.ACTIVATIONS`.
      activation: in place of tanh.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters and gate sums stay float32.

    Raises:
      UserError: a bad activation, init or hidden.
    """
    squash, bend = activation_function(gate_activation), activation_function(activation)
    name, draws = cell_name("gru", (gate_activation, activation)), initializer(init)

    def update(params: Params, carry: GRUCarry, z: Array, r: Array) -> tuple[GRUCarry, Array, Trace]:
        reset = squash(z[:, 0] + r[:, 0])
        keep = squash(z[:, 1] + r[:, 1])
        n = bend(z[:, 2] + reset * (r[:, 2] + params["b_h"]))
        h = ((1.0 - keep) * n + keep * carry.h).astype(carry.h.dtype)
        return GRUCarry(h), h, {"r": reset, "z": keep, "n": n}

    def b(key: Key, shape: tuple[int, ...]) -> Array:
        # Torch's biases of r and z are two each, merged here; n's input bias stands alone.
        return draws.b(key, shape).at[2].set(draws.vector(jax.random.fold_in(key, 1), shape[1:]))

    def extra(key: Key, draws: Initializer) -> Params:
        return {"b_h": draws.vector(key, (hidden,))}

    return gated(name, hidden, 3, GRUCarry, update, init=draws._replace(b=b), dtype=dtype, extra=extra)
