"""Fast weights: a network that attends to its recent past by a matrix of it (Ba 2016)."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, activation_function, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.gated import gated, wide
from lstm_jax.cells.initializers import Initializer, initializer, scaled_identity
from lstm_jax.cells.layer_norm import layer_norm
from lstm_jax.cells.plastic import outer
from lstm_jax.cells.rates import rate_is_zero
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params

__all__ = ["FastWeightsCarry", "fast_weights"]


class FastWeightsCarry(NamedTuple):
    """a [B, H, H] float32, the fast weights; h [B, H] in the compute dtype, the output."""

    a: Array
    h: Array


def fast_weights(
    hidden: int,
    *,
    decay: float | Array = 0.95,
    eta: float | Array = 0.5,
    inner: int = 1,
    identity: float | Array | None = 0.05,
    activation: Activation = "relu",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
) -> Cell:
    """The network with fast weights: s = x C + h W + b, h_0 = f(s), h_{k+1} = f(LN(s + A h_k)), h' = h_S.

    Ba, Hinton, Mnih, Leibo & Ionescu 2016, equations 1, 2 and 5, with A' = decay A + eta h' h'^T. A h_k is
    eta times the sum of the past states, each weighed by its age and by its product with h_k (equation 3):
    attention to the past without keeping it. The slow weights W and C are trained, with LN's `gain` and
    `shift` [H]; decay, eta and S are not. Trace: fast, the last A h_k.

    `update` is not pointwise. The backward keeps [T, B, H, H] numbers; `remat_chunk` of a model keeps fewer.

    Args:
      hidden: H.
      decay: lambda of the paper, what is left of A after a step, in [0, 1]; may be traced.
      eta: what a state adds to A, in [0, 1]; may be traced.
      inner: S, settling steps within a step of time.
      identity: W starts at this multiple of the identity. The public implementations of the paper start it
        at 0.05; the paper itself does not say. None: W starts as `init` draws it. May be traced.
      activation: f, a name of `activations.ACTIVATIONS`; the paper's is relu.
      init: "lecun", "torch" or "uniform(a)", for the slow weights.
      dtype: compute dtype of h and of the slow products; A, its products and LN stay float32.

    Raises:
      UserError: an unknown activation, a bad decay, eta, inner, init or hidden.
    """
    f = activation_function(activation)
    rate_is_zero(decay, "fast_weights decay")
    rate_is_zero(eta, "fast_weights eta")
    if not isinstance(inner, int) or inner < 1:
        raise UserError(f"fast_weights: inner must be a positive whole number of steps, not {inner!r}")

    draws = initializer(init)
    if identity is not None:
        draws = draws._replace(w_h=scaled_identity(identity))

    def extra(key: Key, draws: Initializer) -> Params:
        return {"gain": jnp.ones(hidden, jnp.float32), "shift": jnp.zeros(hidden, jnp.float32)}

    def update(
        params: Params, carry: FastWeightsCarry, z: Array, r: Array
    ) -> tuple[FastWeightsCarry, Array, Trace]:
        slow = (z + r)[:, 0]
        state = f(slow)
        for _ in range(inner):
            fast = jnp.einsum("bij,bj->bi", carry.a, state)
            state = f(layer_norm(slow + fast, params["gain"], params["shift"]))
        h = state.astype(carry.h.dtype)
        return FastWeightsCarry(decay * carry.a + eta * outer(state, state), h), h, {"fast": fast}

    name = cell_name("fast_weights", (activation,), ("relu",))
    cell = gated(name, hidden, 1, FastWeightsCarry, update, init=draws, dtype=dtype, extra=extra)

    def carry(params: Params, batch: int) -> FastWeightsCarry:
        a = jnp.zeros((batch, hidden, hidden), wide(dtype))
        return FastWeightsCarry(a, jnp.zeros((batch, hidden), dtype))

    return cell._replace(carry=carry, pointwise=False)
