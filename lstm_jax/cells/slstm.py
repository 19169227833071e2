"""The sLSTM of xLSTM (Beck et al. 2024): exponential gates, a normaliser, a stabiliser."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.forget_bias import ForgetBias, bias_rows
from lstm_jax.cells.gated import gated, split_gates
from lstm_jax.cells.initializers import Initializer
from lstm_jax.support.notation import Array, Params
from lstm_jax.support.registry import lookup

__all__ = ["SLSTMCarry", "slstm"]


class SLSTMCarry(NamedTuple):
    """c, n, m [B, H] float32: cell state and normaliser times exp(-m); h [B, H] in the compute dtype."""

    c: Array
    n: Array
    m: Array
    h: Array


LOG_FORGET = {"sigmoid": jax.nn.log_sigmoid, "exp": lambda a: a}
"""log f, by the name of the forget gate's function."""


def slstm(
    hidden: int,
    *,
    forget: str = "sigmoid",
    forget_bias: ForgetBias = 1.0,
    forget_bias_trainable: bool = True,
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """The sLSTM: C' = f C + i g, N' = f N + i, h' = o C' / N', i = exp(i~), f = sigmoid(f~) or exp(f~).

    i~, f~, o~, g~ = x W_x + h W_h + b; o = sigmoid(o~), g = tanh(g~). Beck 2024, "xLSTM: Extended Long
    Short-Term Memory", eq. 8 to 17, with one head and without its block's normalisation and convolution.

    What the carry holds are c = C exp(-m) and n = N exp(-m), with the stabiliser m' = max(log f + m, i~) (eq.
    15): i' = exp(i~ - m') and f' = exp(log f + m - m') lie in (0, 1], one of them is 1, and nothing
    overflows. m cancels in C / N. Where n is 0, at the start, nothing is held, and m' = i~. From the
    first step on n is 1 or more. All of it rests on exponential gates, so that no function but the forget
    gate's is a choice.

    The trace has i = i' / n', f = f' n / n' and c = c' / n', so that c = f c_before + i g with f + i = 1: `f`
    is the share of the memory that stays, from which time scales follow (1 at the first step, where there is
    nothing to lose); n and m are there too. Row 1 of b is f~'s; the paper's own start is the forget bias
    "powerlaw".

    Args:
      hidden: H.
      forget: "sigmoid" or "exp", the function of the forget gate.
      forget_bias: as in `lstm`.
      forget_bias_trainable: as in `lstm`.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters, gate sums, c, n and m stay float32.
      layer: index of this layer.
      layers: L.

    Raises:
      UserError: an unknown `forget`, or what `lstm` refuses.
    """
    log_forget = lookup(LOG_FORGET, forget, "option forget of cell 'slstm'")

    def update(params: Params, carry: SLSTMCarry, z: Array, r: Array) -> tuple[SLSTMCarry, Array, Trace]:
        i, f, g, o = split_gates(z + r)
        g, o = jnp.tanh(g), jax.nn.sigmoid(o)
        held = log_forget(f) + carry.m
        first = carry.n == 0.0
        m = jnp.where(first, i, jnp.maximum(held, i))
        i = jnp.exp(i - m)
        f = jnp.exp(jnp.minimum(held - m, 0.0))  # it is above 0 only where n is 0: no infinity times 0
        c = f * carry.c + i * g
        n = f * carry.n + i
        memory = c / n
        h = (o * memory).astype(carry.h.dtype)
        share = jnp.where(first, 1.0, f * carry.n / n)
        trace = {"i": i / n, "f": share, "g": g, "o": o, "c": memory, "n": n, "m": m}
        return SLSTMCarry(c, n, m, h), h, trace

    bias = bias_rows(forget_bias, trainable=forget_bias_trainable, layer=layer, layers=layers)
    return gated("slstm", hidden, 4, SLSTMCarry, update, init=init, dtype=dtype, bias=bias)
