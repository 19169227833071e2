"""The Mogrifier LSTM (Melis, Kocisky & Blunsom 2020): input and state scale each other before the gates."""

from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.cells.activations import Activation, cell_name
from lstm_jax.cells.base import Cell, Trace
from lstm_jax.cells.forget_bias import ForgetBias
from lstm_jax.cells.gated import product, wide
from lstm_jax.cells.initializers import Initializer, initializer
from lstm_jax.cells.lstm import LSTMCarry, lstm
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params, Tree
from lstm_jax.support.rng import stream

__all__ = ["mogrifier"]


def mogrifier(
    hidden: int,
    *,
    rounds: int = 5,
    rank: int = 0,
    forget_bias: ForgetBias = 1.0,
    forget_bias_trainable: bool = True,
    gate_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """The LSTM of x and h after `rounds` rounds in which each scales the other.

    Round 1: x <- 2 sigmoid(h Q_1 + b) x; round 2: h <- 2 sigmoid(x R_1 + b) h; round 3 is x's again, with
    Q_2; and so on. Melis 2020, eq. 1 and 2, with the biases, 0 at the start, of the authors' code. rounds = 0
    is `lstm`. The authors' recipe also caps the input gate, i <- min(i, 1 - f), as `capped_lstm` does;
    this cell does not.

    Leaves beside the LSTM's: w_q [N, H, D] and b_q [N, D] for the N rounds of x, w_r [M, D, H] and b_r [M, H]
    for the M rounds of h; with a rank K, w_q [N, H, K] and w_q_up [N, K, D], and w_r alike. The input meets
    the state before the gates: nothing can be hoisted out of the scan, `update` holds the products (it is
    not pointwise), and autodiff differentiates it.

    Args:
      hidden: H.
      rounds: 0 or more; the paper's best is 5.
      rank: K of each product; 0: full matrices.
      forget_bias: as in `lstm`.
      forget_bias_trainable: as in `lstm`.
      gate_activation: of i, f and o, as in `lstm`; the rounds keep the sigmoid, where 2 sigmoid(0) = 1.
      activation: as in `lstm`.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters, gate sums and c stay float32.
      layer: index of this layer.
      layers: L.

    Raises:
      UserError: rounds or rank is not a whole number of 0 or more, or what `lstm` refuses.
    """
    for option, value in {"rounds": rounds, "rank": rank}.items():
        if type(value) is not int or value < 0:
            raise UserError(f"mogrifier: {option}={value!r} must be a whole number, 0 or more")
    inner = lstm(
        hidden,
        forget_bias=forget_bias,
        forget_bias_trainable=forget_bias_trainable,
        gate_activation=gate_activation,
        activation=activation,
        init=init,
        dtype=dtype,
        layer=layer,
        layers=layers,
    )._replace(name=cell_name("mogrifier", (gate_activation, activation)))
    if rounds == 0:
        return inner
    compute, draws = jnp.dtype(dtype), initializer(init)

    def scaling(key: Key, name: str, count: int, source: int, target: int) -> Params:
        """The leaves of `count` rounds in which `source` numbers scale `target` numbers."""

        def factor(leaf: str, rows: int, columns: int) -> Array:
            own = [stream(key, leaf, step) for step in range(count)]
            return jnp.stack([draws.w_x(k, (rows, 1, columns))[:, 0] for k in own])

        if count == 0:
            return {}
        leaves = {f"w_{name}": factor(f"w_{name}", source, rank or target)}
        if rank:
            leaves[f"w_{name}_up"] = factor(f"w_{name}_up", rank, target)
        return leaves | {f"b_{name}": jnp.zeros((count, target), jnp.float32)}

    def init_params(key: Key, input_dim: int) -> Params:
        own = stream(key, "rounds")
        return {
            **inner.init(key, input_dim),
            **scaling(own, "q", (rounds + 1) // 2, hidden, input_dim),
            **scaling(own, "r", rounds // 2, input_dim, hidden),
        }

    def prepare(params: Params, xs: Array, key: Key | None) -> tuple[Params, Array]:
        seen = {leaf: v.astype(compute) if leaf.startswith("w_") else v for leaf, v in params.items()}
        return seen, xs.astype(compute).astype(wide(compute))

    def scaled(params: Params, name: str, step: int, source: Array, target: Array) -> Array:
        sums = source
        for leaf in (f"w_{name}", f"w_{name}_up"):
            if leaf in params:
                sums = product(sums.astype(compute), params[leaf][step][:, None])[..., 0, :]
        return (2.0 * jax.nn.sigmoid(sums + params[f"b_{name}"][step]) * target).astype(compute)

    def update(params: Params, carry: LSTMCarry, z: Array, r: Tree) -> tuple[LSTMCarry, Array, Trace]:
        x, h = z, carry.h
        for step in range(rounds):
            if step % 2 == 0:
                x = scaled(params, "q", step // 2, h, x)
            else:
                h = scaled(params, "r", step // 2, x, h)
        seen, sums = inner.prepare(params, x[None], None)
        carry = carry._replace(h=h)
        return inner.update(seen, carry, sums[0], inner.recur(seen, carry))

    return inner._replace(
        init=init_params,
        prepare=prepare,
        recur=lambda params, carry: (),
        update=update,
        linear=False,
        pointwise=False,
    )
