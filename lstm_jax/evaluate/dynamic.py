"""Dynamic evaluation: the model goes on learning from the text that it is scored on.

Krause, Kahembwe, Murray and Renals 2018, "Dynamic Evaluation of Neural Sequence Models", their RMS rule
with RMS-scaled decay, as in their code (benkrause/dynamic-evaluation). With g the gradient of the mean
loss over a window, and rms = sqrt(mean g^2) measured once on the training split:

    w <- w - rate * g / (rms + eps) + min(decay * rms / mean(rms), 1) * (w_trained - w)

Every window is scored before the model learns from it, so no token is ever predicted by weights that have
seen it. Figures of it stand in a column of their own, never beside static ones.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.evaluate.stream import Progress, Stream, Window, figures, make_stream, sum_windows, window_at
from lstm_jax.models import Model
from lstm_jax.models.loss import cross_entropy
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params, Tree
from lstm_jax.support.pytrees import trainable

__all__ = ["DynamicEvaluator", "Statistics", "gradient_statistics", "make_dynamic_evaluator"]

WINDOWS_PER_CALL = 256


class Statistics(NamedTuple):
    """How large the gradients of a trained model are.

    Attributes:
      rms: as the parameters: square root of the mean squared gradient of each weight, over windows.
      mean: scalar: the mean over parameter arrays of each array's mean rms. (Krause's code takes this
        mean of means and not the mean over all weights; arrays that never train are left out.)
    """

    rms: Params
    mean: Array


DynamicEvaluator = Callable[..., dict[str, float]]
"""(params, statistics, *, rate, decay, eps, progress=None) -> {"nats", "perplexity"}, see
`make_dynamic_evaluator`."""


def _map_trainable(function: Any, params: Params, *others: Tree) -> Tree:
    """`function(leaf, *others)` at leaves that train; leaves that never train stay as they are in params."""
    return jax.tree.map(
        lambda trains, leaf, *rest: function(leaf, *rest) if trains else leaf,
        trainable(params),
        params,
        *others,
    )


def _mean_nats(
    params: Params, model: Model, window: Window, carry: tuple
) -> tuple[Array, tuple[tuple, Array]]:
    outputs = model.apply(params, window.inputs, carry)
    nats = jnp.where(window.scored, cross_entropy(outputs.logits, window.targets), 0.0)
    total = nats.sum()
    # Only the last window may hold padding, and padding comes after all that is scored: it cannot
    # reach a score, nor its gradient.
    return total / jnp.maximum(window.scored.sum(), 1), (outputs.carry, total)


def gradient_statistics(
    model: Model,
    params: Params,
    tokens: Any,
    first: int,
    *,
    window: int = 5,
    batch: int = 100,
    batches: int | None = None,
    progress: Progress | None = None,
) -> Statistics:
    """Measures gradients over the training split, without dropout and without updates.

    The text is read as `batch` contiguous streams (fewer where it is too short for that), the carry going
    from window to window; the last tokens that fill no window of all streams are left out. The rms
    depends on the tokens a window averages over, so a rate goes with a choice of batch and window:
    published rates with Krause's 100 and 5.

    Args:
      model, params: the trained model.
      tokens: [N] the training split.
      first: the input before tokens[0].
      window: T.
      batch: B.
      batches: windows to measure over; None: all of the split.
      progress: see `Progress`.

    Raises:
      UserError: fewer tokens than one window, or a number that is not positive.
    """
    if min(batch, 1 if batches is None else batches) < 1:
        raise UserError(f"gradient statistics need batch and batches of 1 or more, not {batch} and {batches}")
    tokens = np.asarray(tokens, np.int32)
    if window < 1 or len(tokens) < window:
        raise UserError(f"gradient statistics need {max(window, 1)} tokens for one window, not {len(tokens)}")
    rows = min(batch, len(tokens) // window)
    steps = len(tokens) // rows // window
    inputs = np.concatenate([[first], tokens[:-1]]).astype(np.int32)

    def cut(flat: np.ndarray) -> Array:  # [steps, T, B]
        streams = flat[: rows * (len(flat) // rows)].reshape(rows, -1)[:, : steps * window]
        return jnp.asarray(streams.reshape(rows, steps, window).transpose(1, 2, 0))

    steps = min(steps, batches or steps)
    data = (cut(inputs), cut(tokens))

    def mean_loss(params: Params, inputs: Array, targets: Array, carry: tuple) -> tuple[Array, tuple]:
        outputs = model.apply(params, inputs, carry)
        return cross_entropy(outputs.logits, targets).mean(), outputs.carry

    @functools.partial(jax.jit, donate_argnums=2)
    def run(params: Params, data: tuple, state: tuple, start: Array, stop: Array) -> tuple:
        def body(step: Array, state: tuple) -> tuple:
            carry, squares = state
            gradient, carry = jax.grad(mean_loss, has_aux=True)(params, data[0][step], data[1][step], carry)
            return carry, jax.tree.map(lambda s, g: s + jnp.square(g), squares, gradient)

        return jax.lax.fori_loop(start, stop, body, state), jnp.zeros(())

    state = (model.carry(params, rows), jax.tree.map(jnp.zeros_like, params))
    (_, squares), _ = sum_windows(
        lambda state, start, stop: run(params, data, state, start, stop),
        state,
        steps,
        WINDOWS_PER_CALL,
        progress,
    )
    rms = jax.tree.map(lambda leaf: jnp.sqrt(leaf / steps), squares)
    learns = jax.tree.leaves(trainable(rms))
    means = [leaf.mean() for leaf, trains in zip(jax.tree.leaves(rms), learns, strict=True) if trains]
    return Statistics(rms, jnp.stack(means).mean())


def make_dynamic_evaluator(model: Model, tokens: Any, first: int, *, window: int = 5) -> DynamicEvaluator:
    """Compiles one adaptive pass over a text into a function of parameters and of the rule's numbers.

    The pass has batch 1 and one carry, from the initial one on; every token is scored once, each window
    before the update by its gradient. Changing `rate`, `decay` or `eps` does not compile anew.

    Args:
      model: the model; dropout is off.
      tokens: [N] the split to score.
      first: the input before tokens[0].
      window: T, tokens between two updates; also what gradients flow back through.

    Returns:
      (params, statistics, *, rate, decay, eps, progress) -> {"nats", "perplexity"}. With a rate of 0 they
      are the static ones. Raises UserError where a number is out of range, or where the adapted weights
      are no longer finite.

    Raises:
      UserError: there are no tokens, or the window is not positive.
    """
    stream = make_stream(tokens, first, window)

    @functools.partial(jax.jit, donate_argnums=0)
    def run(
        state: tuple, fixed: tuple, stream: Stream, numbers: tuple, start: Array, stop: Array
    ) -> tuple[tuple, Array]:
        origin, statistics = fixed
        rate, decay, eps = numbers
        average = jnp.maximum(statistics.mean, jnp.finfo(jnp.float32).tiny)

        def adapt(weight: Array, gradient: Array, trained: Array, rms: Array) -> Array:
            pull = jnp.minimum(decay * rms / average, 1.0)  # beyond 1 the pull would overshoot
            return weight - rate * gradient / (rms + eps) + pull * (trained - weight)

        def body(step: Array, loop: tuple) -> tuple:
            (params, carry), sum_nats = loop
            gradient, (carry, nats) = jax.grad(_mean_nats, has_aux=True)(
                params, model, window_at(stream, step), carry
            )
            params = _map_trainable(adapt, params, gradient, origin, statistics.rms)
            return (params, carry), sum_nats + nats

        return jax.lax.fori_loop(start, stop, body, (state, jnp.zeros(())))

    def evaluate(
        params: Params,
        statistics: Statistics,
        *,
        rate: float,
        decay: float,
        eps: float,
        progress: Progress | None = None,
    ) -> dict[str, float]:
        if not (rate >= 0 and 0 <= decay < math.inf and eps > 0):
            raise UserError(
                f"dynamic evaluation needs rate >= 0, decay >= 0 and eps > 0, not {rate}, {decay} and {eps}"
            )
        numbers = tuple(jnp.float32(number) for number in (rate, decay, eps))
        fixed = (params, statistics)
        # A copy, because the loop's own weights are donated from call to call.
        state = (jax.tree.map(jnp.copy, params), model.carry(params, 1))
        _, total = sum_windows(
            lambda state, start, stop: run(state, fixed, stream, numbers, start, stop),
            state,
            stream.inputs.shape[0],
            WINDOWS_PER_CALL,
            progress,
        )
        if not math.isfinite(total):
            raise UserError(
                f"dynamic evaluation at rate {rate:g} left the finite numbers: lower evaluate.dynamic_rate, "
                "or raise evaluate.dynamic_eps or evaluate.dynamic_decay"
            )
        return figures(total, int(stream.length))

    return evaluate
