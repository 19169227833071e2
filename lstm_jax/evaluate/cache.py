"""The neural cache: the last words, weighted by how much their contexts resemble the present one.

Grave, Joulin and Usunier 2017, "Improving Neural Language Models with a Continuous Cache", eq. 2 and 4
(linear interpolation), as in pointer.py of salesforce/awd-lstm-lm. With h_t the output of the last layer
from which word t+1 is predicted, undropped, and the S latest pairs (h_i, word that followed):

    p_cache(w) = sum over i with word_(i+1) = w of softmax_i(theta * h_t . h_i)
    p(w)       = lambda * p_cache(w) + (1 - lambda) * p_model(w)

Figures of it stand in a column of their own, never beside static ones.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.evaluate.stream import Progress, Stream, figures, make_stream, sum_windows, window_at
from lstm_jax.models import Model
from lstm_jax.models.loss import cross_entropy
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params

__all__ = ["CacheEvaluator", "make_cache_evaluator"]

WINDOWS_PER_CALL = 16


CacheEvaluator = Callable[..., dict[str, float]]
"""(params, *, theta, lam, progress=None) -> {"nats", "perplexity"}, see `make_cache_evaluator`."""


def make_cache_evaluator(
    model: Model, tokens: Any, first: int, *, size: int = 500, min_history: int = 1, window: int = 256
) -> CacheEvaluator:
    """Compiles one pass with a cache over a text into a function of parameters, theta and lambda.

    The pass has batch 1 and one carry, from the initial one on, and scores every token once. A token with
    less than `min_history` pairs behind it is scored by the model alone. The default, 1, uses whatever
    history there is; pointer.py waits for more than S tokens, which is min_history=size + 1. (It also
    skips the first token of each of its 5,000-token chunks, an accident that is not repeated here.)

    Args:
      model: the model; dropout is off.
      tokens: [N] the split to score.
      first: the input before tokens[0].
      size: S, pairs the cache holds.
      min_history: pairs that must have been seen before the cache is used.
      window: T, tokens of one step of the computation; changes no figure.

    Returns:
      (params, *, theta, lam, progress) -> {"nats", "perplexity"}; theta >= 0 is the flattening, lam the
      weight of the cache, in [0, 1): 0 is the static figure. New values do not compile anew.

    Raises:
      UserError: there are no tokens, or a number is not positive.
    """
    if min(size, min_history) < 1:
        raise UserError(f"the cache's size and min_history must be 1 or more, not {size} and {min_history}")
    stream = make_stream(tokens, first, window)

    @functools.partial(jax.jit, donate_argnums=1)
    def run(
        params: Params, state: tuple, stream: Stream, numbers: tuple, start: Array, stop: Array
    ) -> tuple[tuple, Array]:
        # Queries are rows t of the window; keys are the S pairs before the window and those in it.
        # Pair number S + t is the one that ends with target t: rows see the S pairs before their own.
        theta, lam = numbers
        row, column = jnp.arange(window)[:, None], jnp.arange(size + window)[None, :]
        reach = (column >= row) & (column < row + size)

        def body(step: Array, loop: tuple) -> tuple:
            (carry, keys, words), total = loop
            now = window_at(stream, step)
            outputs = model.apply(params, now.inputs, carry)
            hidden, targets = outputs.hidden[:, 0].astype(jnp.float32), now.targets[:, 0]
            keys = jnp.concatenate([keys, hidden])
            words = jnp.concatenate([words, targets])
            # In full float32: theta spreads small differences of the products over the whole softmax.
            likeness = theta * jnp.dot(hidden, keys.T, precision=jax.lax.Precision.HIGHEST)
            seen = step * window + row  # pairs before each token, in all
            held = reach & (column >= row + size - seen)
            same = held & (words[None, :] == targets[:, None])
            likeness = jnp.where(held, likeness, -jnp.inf)
            whole = jax.nn.logsumexp(likeness, axis=1)
            found = jax.nn.logsumexp(jnp.where(same, likeness, -jnp.inf), axis=1)
            by_cache = jnp.where(same.any(axis=1), found - whole, -jnp.inf)
            by_model = -cross_entropy(outputs.logits, now.targets)[:, 0]
            mixed = jnp.logaddexp(jnp.log(lam) + by_cache, jnp.log1p(-lam) + by_model)
            nats = -jnp.where(seen[:, 0] >= min_history, mixed, by_model)
            total = total + jnp.where(now.scored[:, 0], nats, 0.0).sum()
            return (outputs.carry, keys[-size:], words[-size:]), total

        return jax.lax.fori_loop(start, stop, body, (state, jnp.zeros(())))

    def evaluate(
        params: Params, *, theta: float, lam: float, progress: Progress | None = None
    ) -> dict[str, float]:
        if not (theta >= 0 and 0 <= lam < 1):
            raise UserError(f"the neural cache needs theta >= 0 and lambda in [0, 1), not {theta} and {lam}")
        numbers = (jnp.float32(theta), jnp.float32(lam))
        carry = model.carry(params, 1)
        width = jax.eval_shape(model.apply, params, stream.inputs[:1].T, carry).hidden.shape[-1]
        state = (carry, jnp.zeros((size, width)), jnp.zeros(size, jnp.int32))
        _, total = sum_windows(
            lambda state, start, stop: run(params, state, stream, numbers, start, stop),
            state,
            stream.inputs.shape[0],
            WINDOWS_PER_CALL,
            progress,
        )
        return figures(total, int(stream.length))

    return evaluate
