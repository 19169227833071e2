"""ParaRNN's GRU: recurrent weights that are diagonal (Danieli et al. 2026)."""

from typing import Any

import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.diagonal import diagonal
from lstm_jax.cells.gated import split_gates
from lstm_jax.cells.gru import GRUCarry
from lstm_jax.cells.initializers import Initializer
from lstm_jax.support.notation import Array, Params

__all__ = ["para_gru"]


def para_gru(
    hidden: int,
    *,
    heads: int = 1,
    gate_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
) -> Cell:
    """The GRU whose units recur by themselves: r, z = sigmoid(x W_x + w h + b), h' = (1 - z) n + z h.

    n = tanh(x W_x + w (r h) + b); w are vectors, products with them elementwise, so that r before or after
    the product is the same. Danieli et al. 2026 (ParaRNN), section 3, where z and 1 - z change places; here
    as in `gru`. The Jacobian of a step is diagonal. Rows: r, z, n.

    Args:
      hidden: H.
      heads: parts of the input projection, as in `para_lstm`.
      gate_activation: of r and z, as in `gru`.
      activation: in place of tanh.
      init: "lecun", "torch" or "uniform(a)"; w_h: see `diagonal.diagonal`.
      dtype: compute dtype; parameters and gate sums stay float32.

    Raises:
      UserError: heads that do not divide H or D, or what `gru` refuses.
    """
    squash, bend = activation_function(gate_activation), activation_function(activation)
    name = cell_name("para_gru", (gate_activation, activation))

    def update(params: Params, carry: GRUCarry, z: Array, r: Array) -> tuple[GRUCarry, Array, Trace]:
        (z_r, z_z, z_n), (r_r, r_z, r_n) = split_gates(z), split_gates(r)
        reset, keep = squash(z_r + r_r), squash(z_z + r_z)
        n = bend(z_n + reset * r_n)
        h = ((1.0 - keep) * n + keep * carry.h).astype(carry.h.dtype)
        return GRUCarry(h), h, {"r": reset, "z": keep, "n": n}

    return diagonal(name, hidden, 3, GRUCarry, update, init=init, dtype=dtype, heads=heads)
