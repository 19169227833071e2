"""The structurally constrained recurrent network (Mikolov et al. 2014): context units that only leak."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.gated import gated, product, units, wide
from lstm_jax.cells.initializers import Initializer, initializer
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params, Tree
from lstm_jax.support.rng import stream

__all__ = ["SCRNCarry", "scrn"]


class SCRNCarry(NamedTuple):
    """s [B, S] float32, the context units; h [B, H] in the compute dtype."""

    s: Array
    h: Array


def scrn(
    hidden: int,
    *,
    context: int | None = None,
    alpha: float | Array = 0.95,
    alpha_trainable: bool = False,
    activation: Activation = "sigmoid",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
) -> Cell:
    """The SCRN: s' = (1 - alpha) x B + alpha s; h' = sigmoid(s' P + x A + h R + b); y = concat(h', s').

    Mikolov 2014, "Learning Longer Memory in Recurrent Neural Networks", section 4 (whose h has no b); y is
    [B, H + S], for the paper's softmax(h U + s V). A context unit's memory decays by e in -1 / log(alpha)
    steps: 19.5 for 0.95. Leaves: w_x [D, 1, H] is A, w_h [H, 1, H] is R, b [1, H], w_x_s [D, S] is B, w_s
    [S, 1, H] is P, and with `alpha_trainable` the `alpha_logit` [S], alpha = sigmoid(alpha_logit) (section
    4.1, where it begins near alpha for every unit).

    The authors' code differs from the paper: its h reads the context of the step before, and the context
    starts at 0.1. Here h reads the new context, and the context starts at 0, as the paper has it.

    s' P is linear in s, so it is part of the recurrent product, and its input part (1 - alpha) x B P of the
    input projection. `update` is not pointwise only in that y puts two widths side by side. The trace
    has s and, as `f`, alpha, each [B, S].

    Args:
      hidden: H.
      context: S, context units; None: 0.4 H, rounded up (the paper's 100 and 40).
      alpha: in (0, 1); may be traced.
      alpha_trainable: True learns one alpha a context unit, from this value.
      activation: of the hidden units h, in place of the sigmoid: a name of `activations.ACTIVATIONS`.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters, sums and s stay float32.

    Raises:
      UserError: alpha outside (0, 1), or a bad context, activation, init or hidden.
    """
    width = -(-2 * units(hidden, "scrn: hidden") // 5) if context is None else context
    units(width, "scrn: context")
    traced = hasattr(alpha, "dtype")
    if not traced and not (isinstance(alpha, int | float) and 0 < alpha < 1):
        raise UserError(f"scrn: alpha={alpha} is outside (0, 1); try 0.95")
    compute, draws = jnp.dtype(dtype), initializer(init)
    bend = activation_function(activation)

    def update(params: Params, carry: SCRNCarry, z: Tree, r: Array) -> tuple[SCRNCarry, Array, Trace]:
        s = z["s"] + params["alpha"] * carry.s
        h = bend((z["h"] + r)[:, 0]).astype(carry.h.dtype)
        y = jnp.concatenate([h, s.astype(h.dtype)], axis=-1)
        return SCRNCarry(s, h), y, {"s": s, "f": jnp.broadcast_to(params["alpha"], s.shape)}

    name = cell_name("scrn", (activation,), ("sigmoid",))
    inner = gated(name, hidden, 1, SCRNCarry, update, init=init, dtype=dtype)

    def init_params(key: Key, input_dim: int) -> Params:
        own = stream(key, "context")
        params = {
            **inner.init(key, input_dim),
            "w_x_s": draws.w_x(stream(own, "w_x"), (input_dim, 1, width))[:, 0],
            "w_s": draws.w_h(stream(own, "w_s"), (width, 1, hidden)),
        }
        if alpha_trainable:
            level = jnp.asarray(alpha, jnp.float32)
            params["alpha_logit"] = jnp.broadcast_to(jnp.log(level) - jnp.log1p(-level), (width,))
        return params

    def carry(params: Params, batch: int) -> SCRNCarry:
        return inner.carry(params, batch)._replace(s=jnp.zeros((batch, width), wide(compute)))

    def context_product(params: Params, s: Array) -> Array:
        return product(s.astype(compute), params["w_s"])

    def prepare(params: Params, xs: Array, key: Key | None) -> tuple[Params, Tree]:
        seen, zs = inner.prepare(params, xs, key)
        decay = jax.nn.sigmoid(seen["alpha_logit"]) if alpha_trainable else jnp.asarray(alpha, jnp.float32)
        seen = {"w_h": seen["w_h"], "w_s": seen["w_s"].astype(compute), "alpha": decay}
        entering = product(xs.astype(compute), params["w_x_s"].astype(compute)[:, None])[..., 0, :]
        entering = (1.0 - decay) * entering
        return seen, {"h": zs + context_product(seen, entering), "s": entering}

    def recur(params: Params, carry: SCRNCarry) -> Array:
        return inner.recur(params, carry) + context_product(params, params["alpha"] * carry.s)

    return inner._replace(
        output_dim=hidden + width,
        init=init_params,
        carry=carry,
        prepare=prepare,
        recur=recur,
        pointwise=False,
    )
