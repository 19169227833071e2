"""A recurrent network whose connections change while it runs: differentiable plasticity (Miconi 2018)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.gated import gated, wide
from lstm_jax.cells.initializers import Initializer
from lstm_jax.cells.rates import rate_is_zero
from lstm_jax.support.notation import Array, Key, Params
from lstm_jax.support.registry import lookup

__all__ = ["RULES", "PlasticCarry", "outer", "plastic", "plastic_sum", "started_alpha"]


class PlasticCarry(NamedTuple):
    """hebb [B, H, H] float32, the plastic part, from unit (axis 1) to unit (axis 2); h [B, H], the output."""

    hebb: Array
    h: Array


def outer(before: Array, after: Array) -> Array:
    """before_i * after_j: [B, H], [B, H] -> [B, H, H] in the dtype of `after`."""
    return before.astype(after.dtype)[:, :, None] * after[:, None, :]


def plastic_sum(h: Array, alpha: Array, hebb: Array) -> Array:
    """What unit j receives through the plastic part: sum_i h_i alpha_ij Hebb_ij, [B, H] in hebb's dtype."""
    return jnp.einsum("bi,bij->bj", h.astype(hebb.dtype), alpha * hebb)


def started_alpha(key: Key, hidden: int, alpha: float | Array) -> Array:
    """[H, H] plasticities drawn from U(0, alpha), as the authors draw them."""
    return alpha * jax.random.uniform(key, (hidden, hidden), jnp.float32)


def _hebb(hebb: Array, eta: Array, before: Array, after: Array) -> Array:
    return (1.0 - eta) * hebb + eta * outer(before, after)


def _oja(hebb: Array, eta: Array, before: Array, after: Array) -> Array:
    return hebb + eta * (outer(before, after) - after[:, None, :] ** 2 * hebb)


RULES = {"hebb": _hebb, "oja": _oja}
"""How Hebb [B, H, H] follows the activities before and after a connection, by name."""


def plastic(
    hidden: int,
    *,
    rule: str = "hebb",
    eta: float | Array = 0.01,
    alpha: float | Array = 0.01,
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
) -> Cell:
    """The plastic network: y = tanh(x W_x + b + y_prev (w + alpha * Hebb)), Hebb following the activity.

    Miconi, Stanley & Clune 2018, equations 1 to 3. Rule "hebb" (equation 2) forgets:
    Hebb' = (1 - eta) Hebb + eta y_prev^T y. Rule "oja" (equation 3) is bounded without forgetting:
    Hebb'_ij = Hebb_ij + eta y_j (y_prev_i - y_j Hebb_ij). The leaves `eta` (one number) and `alpha` [H, H]
    are trained with w; Hebb is 0 at the start of a sequence and is what the sequence taught. Trace empty.
    Here alpha starts at U(0, alpha); the paper's experiments on patterns and images draw it from a normal
    distribution of standard deviation 0.01, of both signs.

    The plastic product is a matmul of the carry with itself: `update` is not pointwise. The backward keeps
    [T, B, H, H] numbers; `remat_chunk` of the model keeps fewer.

    Args:
      hidden: H.
      rule: a name of RULES.
      eta: where the learning rate of Hebb starts, in [0, 1]; may be traced.
      alpha: the plasticities start at U(0, alpha); may be traced.
      activation: in place of tanh, as in `elman`.
      init: "lecun", "torch" or "uniform(a)", for the fixed weights.
      dtype: compute dtype of h and of the products with W_x and w; Hebb and its product stay float32.

    Raises:
      UserError: an unknown rule or activation, a bad eta, init or hidden.
    """
    learn = lookup(RULES, rule, "rule of the cell 'plastic'")
    rate_is_zero(eta, "plastic eta")
    bend = activation_function(activation)

    def extra(key: Key, draws: Initializer) -> Params:
        return {"alpha": started_alpha(key, hidden, alpha), "eta": jnp.asarray(eta, jnp.float32)}

    def update(params: Params, carry: PlasticCarry, z: Array, r: Array) -> tuple[PlasticCarry, Array, Trace]:
        y = bend((z + r)[:, 0] + plastic_sum(carry.h, params["alpha"], carry.hebb))
        h = y.astype(carry.h.dtype)
        return PlasticCarry(learn(carry.hebb, params["eta"], carry.h, y), h), h, {}

    name = cell_name("plastic", (activation,), ("tanh",))
    cell = gated(name, hidden, 1, PlasticCarry, update, init=init, dtype=dtype, extra=extra)

    def carry(params: Params, batch: int) -> PlasticCarry:
        return PlasticCarry(
            jnp.zeros((batch, hidden, hidden), wide(dtype)), jnp.zeros((batch, hidden), dtype)
        )

    return cell._replace(carry=carry, pointwise=False)
