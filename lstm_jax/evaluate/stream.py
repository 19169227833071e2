"""One flat text as windows of one stream: what evaluation that depends on the order of the text reads."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Tree

__all__ = ["Progress", "Stream", "Window", "figures", "make_stream", "sum_windows", "window_at"]

Progress = Callable[[int, int], None]
"""Called with (windows done, windows in all) between compiled calls; it may raise to stop."""


class Stream(NamedTuple):
    """A text cut into windows of T tokens, the last one padded.

    Attributes:
      inputs: [windows, T] int32: the token before each target.
      targets: [windows, T] int32.
      length: int32 scalar N: tokens that are real; those after them are padding.
    """

    inputs: Array
    targets: Array
    length: Array


class Window(NamedTuple):
    """One window of the stream, with the batch axis that models take: B = 1.

    Attributes:
      inputs, targets: [T, 1] int32.
      scored: [T, 1] bool, False on padding.
    """

    inputs: Array
    targets: Array
    scored: Array


def make_stream(tokens: Any, first: int, window: int) -> Stream:
    """The stream in which every one of `tokens` [N] is a target once.

    Args:
      tokens: [N] integers, N >= 1.
      first: the input before tokens[0]; for a text, the end-of-line token.
      window: T, tokens of a window.

    Raises:
      UserError: there are no tokens, or the window is not positive.
    """
    tokens = np.asarray(tokens, np.int32)
    if tokens.ndim != 1 or not tokens.size:
        raise UserError(f"a text of at least one token is needed, as a flat array, not {tokens.shape}")
    if window < 1:
        raise UserError(f"the window is {window} tokens: it must be 1 or more")
    padding = np.zeros(-len(tokens) % window, np.int32)
    inputs = np.concatenate([[first], tokens[:-1], padding]).astype(np.int32)
    targets = np.concatenate([tokens, padding])
    shape = (-1, window)
    return Stream(
        jnp.asarray(inputs.reshape(shape)), jnp.asarray(targets.reshape(shape)), jnp.int32(len(tokens))
    )


def window_at(stream: Stream, step: Array) -> Window:
    """The window of number `step`, which may be traced."""
    window = stream.inputs.shape[1]
    scored = step * window + jnp.arange(window) < stream.length
    return Window(stream.inputs[step][:, None], stream.targets[step][:, None], scored[:, None])


def sum_windows(
    run: Callable[[Tree, Array, Array], tuple[Tree, Array]],
    state: Tree,
    steps: int,
    per_call: int,
    progress: Progress | None,
) -> tuple[Tree, float]:
    """Adds up, in float64, the sums of compiled calls over windows 0 to `steps`; returns the last state too.

    Args:
      run: (state, first, last) -> (state, float32 sum over these windows).
      state: what goes from window to window; it may be donated.
      steps: windows in all.
      per_call: windows in one compiled call: long enough to hide dispatch, short enough for Ctrl-C.
      progress: see `Progress`.
    """
    total = 0.0
    for first in range(0, steps, per_call):
        last = min(first + per_call, steps)
        state, part = run(state, jnp.int32(first), jnp.int32(last))
        total += float(jax.device_get(part))
        if progress is not None:
            progress(last, steps)
    return state, total


def figures(total_nats: float, count: int) -> dict[str, float]:
    """`nats` a token and `perplexity` from a sum over `count` tokens; inf where exp overflows."""
    nats = total_nats / count
    return {"nats": nats, "perplexity": math.exp(nats) if nats < 700 else math.inf}
