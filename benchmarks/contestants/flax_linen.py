"""flax.linen.RNN(OptimizedLSTMCell) and optax, one jitted call a step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from shapes import MATMUL_PRECISION, RATE, VOCAB, WINDOWS, Shape

__all__ = ["build", "make_step", "windows"]


class LanguageModel(nn.Module):
    """Embedding, stacked linen RNNs, head."""

    shape: Shape
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens, carries):
        """Tokens [T, B] -> logits [T, B, V], carries."""
        init = nn.initializers.uniform(0.2)
        embed = nn.Embed(VOCAB, self.shape.embedding, embedding_init=init, dtype=self.dtype)
        x = embed(tokens)
        after = []
        for width, carry in zip(self.shape.hidden, carries, strict=True):
            rnn = nn.RNN(nn.OptimizedLSTMCell(width, dtype=self.dtype), time_major=True, return_carry=True)
            carry, x = rnn(x, initial_carry=carry)
            after.append(carry)
        if self.shape.tied:
            bias = self.param("bias", nn.initializers.zeros, (VOCAB,))
            return embed.attend(x) + bias, tuple(after)
        return nn.Dense(VOCAB, dtype=self.dtype)(x), tuple(after)


def windows(shape: Shape) -> np.ndarray:
    """Random tokens [WINDOWS, T + 1, B]."""
    size = (WINDOWS, shape.window + 1, shape.batch)
    return np.random.default_rng(0).integers(0, VOCAB, size, dtype=np.int32)


def make_step(shape: Shape, precision: str) -> tuple[Callable[[Any, jax.Array], tuple[Any, jax.Array]], Any]:
    """((params, opt_state, carries), window [T + 1, B]) -> (the same, loss); and the first of it."""
    jax.config.update("jax_default_matmul_precision", MATMUL_PRECISION[precision])
    model = LanguageModel(shape, jnp.bfloat16 if precision == "bfloat16" else jnp.float32)
    optimizer = optax.chain(optax.clip_by_global_norm(5.0), optax.sgd(RATE))
    # h and c apart: one shared zeros array cannot be donated twice.
    carries = tuple(
        (jnp.zeros((shape.batch, width)), jnp.zeros((shape.batch, width))) for width in shape.hidden
    )
    params = model.init(jax.random.key(0), jnp.zeros((shape.window, shape.batch), jnp.int32), carries)

    def loss(params, carries, window):
        logits, carries = model.apply(params, window[:-1], carries)
        nats = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), window[1:])
        return nats.sum() / shape.batch, carries

    def step(state, window):
        params, opt_state, carries = state
        (value, carries), gradient = jax.value_and_grad(loss, has_aux=True)(params, carries, window)
        change, opt_state = optimizer.update(gradient, opt_state, params)
        return (optax.apply_updates(params, change), opt_state, carries), value

    return step, (params, optimizer.init(params), carries)


def build(shape: Shape, precision: str) -> tuple[Callable[[int], float], str]:
    """See `contestants`."""
    step, state = make_step(shape, precision)
    step = jax.jit(step, donate_argnums=0)
    batches = [jnp.asarray(window) for window in windows(shape)]
    held = [state, 0]

    def run(steps: int) -> float:
        for _ in range(steps):
            held[0], value = step(held[0], batches[held[1] % WINDOWS])
            held[1] += 1
        jax.block_until_ready(held[0])
        return float(value) / shape.window

    return run, jax.devices()[0].device_kind
