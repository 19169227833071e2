"""How a cell's weights start: named draws for input weights, recurrent weights and biases."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lstm_jax.cells.spec import Call, parse_call
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key
from lstm_jax.support.registry import check_name

__all__ = ["Initializer", "initializer", "scaled_identity"]

Draw = Callable[[Key, tuple[int, ...]], Array]


class Initializer(NamedTuple):
    """Draws of float32 arrays, each (key, shape) -> array; the last axis of a shape is always H.

    Attributes:
      w_x: input weights, shape [D, G, H].
      w_h: recurrent weights, shape [H, G, H].
      b: biases that stand for the sum of an input and a recurrent bias, shape [G, H].
      vector: one single bias or gain, any shape.
    """

    w_x: Draw
    w_h: Draw
    b: Draw
    vector: Draw


def _lecun_normal(key: Key, shape: tuple[int, ...]) -> Array:
    flat = (shape[0], shape[1] * shape[2])  # the fan-in is D, whatever the number of gates
    return jax.nn.initializers.lecun_normal()(key, flat, jnp.float32).reshape(shape)


def _orthogonal(key: Key, shape: tuple[int, ...]) -> Array:
    one = jax.nn.initializers.orthogonal()
    keys = jax.random.split(key, shape[1])
    return jnp.stack([one(k, (shape[0], shape[2]), jnp.float32) for k in keys], axis=1)


def _zeros(key: Key, shape: tuple[int, ...]) -> Array:
    return jnp.zeros(shape, jnp.float32)


def scaled_identity(scale: float | Array) -> Draw:
    """Returns a draw of w_h [H, G, H] that is `scale` times the identity for each gate; reads no key."""

    def draw(key: Key, shape: tuple[int, ...]) -> Array:
        one = scale * jnp.eye(shape[0], shape[2], dtype=jnp.float32)
        return jnp.broadcast_to(one[:, None], shape)

    return draw


def _uniform(bound: float | None) -> Draw:
    def draw(key: Key, shape: tuple[int, ...]) -> Array:
        limit = shape[-1] ** -0.5 if bound is None else bound
        return jax.random.uniform(key, shape, jnp.float32, -limit, limit)

    return draw


def _two_uniforms(key: Key, shape: tuple[int, ...]) -> Array:
    one, two = jax.random.split(key)
    return _uniform(None)(one, shape) + _uniform(None)(two, shape)


def initializer(spec: "str | Initializer") -> Initializer:
    """The initializer that a string names.

    * "lecun": w_x truncated normal of variance 1/D (LeCun 1998), w_h orthogonal for each gate (Saxe 2014),
      biases 0: the defaults of flax.
    * "torch": everything U(-1/sqrt(H), 1/sqrt(H)), the default of torch.nn.LSTM and GRU; b is the sum of
      torch's two biases, so its density is triangular.
    * "uniform(a)": everything U(-a, a), biases too (Zaremba 2014: a = 0.1, 0.05, 0.04).

    Raises:
      UserError: an unknown name or a bad argument.
    """
    if isinstance(spec, Initializer):
        return spec
    call: Call = parse_call(spec, "init")
    check_name(call.name, ("lecun", "torch", "uniform"), "init")
    if call.name == "lecun" and not call.args:
        return Initializer(_lecun_normal, _orthogonal, _zeros, _zeros)
    if call.name == "torch" and not call.args:
        one = _uniform(None)
        return Initializer(one, one, _two_uniforms, one)
    if call.name == "uniform":
        (bound,) = call.numbers(1, "a, the half width, e.g. uniform(0.1)")
        if bound < 0:
            raise UserError(f"init {spec!r}: the half width must not be negative; try uniform(0.1)")
        one = _uniform(bound)
        return Initializer(one, one, one, one)
    raise UserError(f"init {spec!r}: {call.name} takes no arguments; allowed: lecun, torch, uniform(a)")
