"""The IRNN: rectified linear units that start by copying their state (Le, Jaitly & Hinton 2015)."""

from typing import Any

import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, cell_name
from lstm_jax.cells.base import Cell
from lstm_jax.cells.elman import elman
from lstm_jax.cells.initializers import Initializer, initializer, scaled_identity
from lstm_jax.support.notation import Array

__all__ = ["irnn"]


def irnn(
    hidden: int,
    *,
    scale: float | Array = 1.0,
    activation: Activation = "relu",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
) -> Cell:
    """The Elman network with h' = max(x W_x + h W_h + b, 0), whose W_h starts as `scale` times the identity.

    "A simple way to initialize recurrent networks of rectified linear units", section 3: at first, and with
    no input, h stays what it is. They draw W_x from a normal distribution of standard deviation 0.001 and
    start b at 0; `init` "uniform(0.0017)" comes near.

    Args:
      hidden: H.
      scale: of the identity; they use 0.01 where only short memory is wanted (speech). May be traced.
      activation: in place of max(a, 0), as in `elman`.
      init: of W_x and b: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters and sums stay float32.

    Raises:
      UserError: what `elman` refuses.
    """
    draws = initializer(init)._replace(w_h=scaled_identity(scale))
    name = cell_name("irnn", (activation,), ("relu",))
    return elman(hidden, activation=activation, init=draws, dtype=dtype)._replace(name=name)
