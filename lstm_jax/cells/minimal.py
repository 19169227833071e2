"""minLSTM and minGRU (Feng et al. 2024): gates from the input alone, all steps in parallel."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.forget_bias import BiasRows, ForgetBias, bias_rows, plain_rows
from lstm_jax.cells.gated import gated, split_gates
from lstm_jax.cells.initializers import Initializer
from lstm_jax.support.notation import Array, Params, Tree
from lstm_jax.support.registry import lookup

__all__ = ["CANDIDATES", "MinimalCarry", "min_gru", "min_lstm"]


class MinimalCarry(NamedTuple):
    """c [B, H] float32: the papers' h, which is all of the state."""

    c: Array


def _positive(a: Array) -> Array:
    return jnp.where(a >= 0.0, a + 0.5, jax.nn.sigmoid(a))


CANDIDATES: dict[str, Callable[[Array], Array]] = {
    "positive": _positive,
    "linear": lambda a: a,
    "tanh": jnp.tanh,
}
"""What the candidate's sum goes through: "positive" is x + 0.5 from 0 up and sigmoid(x) below."""

Gates = Callable[[Array], tuple[Array, Array, Array]]


def _minimal(name: str, hidden: int, rows: int, gates: Gates, dtype: Any, bias: BiasRows, init: Any) -> Cell:
    """A cell of c' = f c + i g, with f, i, g [B, H] = gates(x W_x + b), in both its forms."""

    def affine(params: Params, z: Array) -> tuple[MinimalCarry, MinimalCarry]:
        f, i, g = gates(z)
        return MinimalCarry(f), MinimalCarry(i * g)

    def update(params: Params, carry: MinimalCarry, z: Array, r: Tree) -> tuple[MinimalCarry, Array, Trace]:
        f, i, g = gates(z)
        c = f * carry.c + i * g
        return MinimalCarry(c), c.astype(dtype), {"i": i, "f": f, "g": g, "c": c}

    inner = gated(name, hidden, rows, MinimalCarry, update, init=init, dtype=dtype, bias=bias, source=0)
    return inner._replace(affine=affine)


def min_lstm(
    hidden: int,
    *,
    candidate: str = "positive",
    forget_bias: ForgetBias = 1.0,
    forget_bias_trainable: bool = True,
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """The minLSTM: c' = f' c + i' g, f' = f / (f + i), i' = i / (f + i), with i, f = sigmoid(x W_x + b).

    g = the candidate's function of x W_g + b_g. Feng 2024, "Were RNNs All We Needed?", section 3.2; the
    candidate "positive" is that of its log-space form (appendix B), "linear" that of the text. y = c'.

    No gate sees the state: there is no recurrent weight (so no weight drop of one), and the backend
    "associative" finds all steps in parallel. f' is sigmoid(softplus(-i~) - softplus(-f~)), which neither
    overflows nor divides by zero, and is why the gates are sigmoids always; g's function is `candidate`. The
    trace has f' and i' as `f` and `i`. Rows of b: i, f, g.

    Args:
      hidden: H.
      candidate: "positive", "linear" or "tanh".
      forget_bias: as in `lstm`; the form's value is f~'s. chrono and timescale start f' at sigmoid(b_f) too.
      forget_bias_trainable: as in `lstm`.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype of the projection and of y; parameters, gate sums and c stay float32.
      layer: index of this layer.
      layers: L.

    Raises:
      UserError: an unknown candidate, or what `lstm` refuses.
    """
    activate = lookup(CANDIDATES, candidate, "option candidate of cell 'min_lstm'")

    def gates(z: Array) -> tuple[Array, Array, Array]:
        i, f, g = split_gates(z)
        odds = jax.nn.softplus(-i) - jax.nn.softplus(-f)  # log (f / i)
        return jax.nn.sigmoid(odds), jax.nn.sigmoid(-odds), activate(g)

    bias = bias_rows(forget_bias, trainable=forget_bias_trainable, layer=layer, layers=layers)
    return _minimal("min_lstm", hidden, 3, gates, dtype, bias, init)


def min_gru(
    hidden: int, *, candidate: str = "positive", init: str | Initializer = "lecun", dtype: Any = jnp.float32
) -> Cell:
    """The minGRU: c' = (1 - i) c + i g, with i = sigmoid(x W_i + b_i), the paper's z, and g as in `min_lstm`.

    Feng 2024, section 3.1. The rest is as in `min_lstm`, the gate always a sigmoid; the trace has 1 - i as
    `f`. Rows of b: i, g.

    Args:
      hidden: H.
      candidate: "positive", "linear" or "tanh".
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype of the projection and of y; parameters, gate sums and c stay float32.

    Raises:
      UserError: an unknown candidate, or a bad init or hidden.
    """
    activate = lookup(CANDIDATES, candidate, "option candidate of cell 'min_gru'")

    def gates(z: Array) -> tuple[Array, Array, Array]:
        i, g = split_gates(z)
        return jax.nn.sigmoid(-i), jax.nn.sigmoid(i), activate(g)

    return _minimal("min_gru", hidden, 2, gates, dtype, plain_rows, init)
