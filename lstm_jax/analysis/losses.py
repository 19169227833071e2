"""The loss of single tokens: with the whole state behind them, and with the state cut to the last few."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.models import Model
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params
from lstm_jax.tasks import scores
from lstm_jax.tasks.base import Batch

__all__ = ["Progress", "cut_nats", "mean_and_error", "round_stride", "shifted", "token_nats"]

Progress = Callable[[int, int], None]
"""Called with (work done, in all) between compiled calls; it may raise to stop."""

SCORED = 256
"""Rows of logits in one compiled call: 256 of 10,000 words are 10 MB."""


def shifted(tokens: Any, first: int) -> np.ndarray:
    """The token before each of `tokens` [N], [N] int32: `first`, then all of them but the last.

    Raises:
      UserError: there is no token, or they are not a flat array.
    """
    tokens = np.asarray(tokens, np.int32)
    if tokens.ndim != 1 or not tokens.size:
        raise UserError(f"a text of at least one token is needed, as a flat array, not {list(tokens.shape)}")
    return np.concatenate([[first], tokens[:-1]]).astype(np.int32)


def _nats(logits: Array, targets: Array) -> Array:
    return scores.nats(logits, Batch(targets, targets))


def token_nats(
    model: Model,
    params: Params,
    tokens: Any,
    first: int,
    *,
    window: int = 256,
    progress: Progress = lambda *_: None,
) -> np.ndarray:
    """The loss of every token of a text with the whole text before it as its context.

    One stream and one carry, as in static evaluation; dropout is off.

    Args:
      model, params: a language model.
      tokens: [N] integers.
      first: the input before tokens[0]; for a text, the end-of-line token.
      window: T, tokens of one compiled call; changes no value.
      progress: called with (tokens scored, N).

    Returns:
      [N] float32 nats.

    Raises:
      UserError: there is no token.
    """
    inputs = shifted(tokens, first)
    targets = np.asarray(tokens, np.int32)

    @jax.jit
    def run(params: Params, carry: tuple, inputs: Array, targets: Array) -> tuple[tuple, Array]:
        outputs = model.apply(params, inputs[:, None], carry)
        return outputs.carry, _nats(outputs.logits, targets[:, None])[:, 0]

    found = np.zeros(len(targets), np.float32)
    carry = model.carry(params, 1)
    for begin in range(0, len(targets), window):
        part = slice(begin, begin + window)
        missing = max(begin + window - len(targets), 0)  # the last window is filled up: one compilation
        padded = [np.pad(array[part], (0, missing)) for array in (inputs, targets)]
        carry, nats = run(params, carry, *padded)
        found[part] = np.asarray(nats)[: window - missing]
        progress(min(begin + window, len(targets)), len(targets))
    return found


def cut_nats(
    model: Model,
    params: Params,
    inputs: Any,
    starts: Any,
    lengths: Any,
    targets: Any,
    *,
    rows: int = 128,
    progress: Progress = lambda *_: None,
) -> np.ndarray:
    """The loss of P targets, each after a stretch of tokens that the model reads from its initial state.

    Stretches with the same start are one run, however many lengths are wanted of it: with every target's
    contexts cut to many lengths, and starts that coincide, most of the work falls away. Runs of similar
    length go side by side, and all through one compiled loop.

    Args:
      model, params: a language model; dropout is off.
      inputs: [N] the tokens to read.
      starts: [P] index in `inputs` of the first token that is read.
      lengths: [P] tokens that are read, 1 or more. The state is looked at after every multiple of their
        greatest common divisor, so let them have one.
      targets: [P] the token to predict after them.
      rows: runs side by side; bounds the memory, changes no value but by rounding.
      progress: called with (steps done, in all).

    Returns:
      [P] float32 nats.

    Raises:
      UserError: a stretch that is empty or leaves `inputs`, or arrays of different lengths.
    """
    inputs, starts, lengths, targets = (np.asarray(a, np.int32) for a in (inputs, starts, lengths, targets))
    if not starts.size or not starts.shape == lengths.shape == targets.shape == (starts.size,):
        raise UserError(
            f"starts, lengths and targets must be flat and of one size, at least 1: they are "
            f"{list(starts.shape)}, {list(lengths.shape)} and {list(targets.shape)}"
        )
    if lengths.min() < 1 or starts.min() < 0 or (starts + lengths).max() > len(inputs):
        raise UserError(
            f"a context must have 1 token or more and lie within the {len(inputs)} tokens at hand"
        )
    window = int(np.gcd.reduce(lengths))
    ends, slot = np.unique(lengths // window - 1, return_inverse=True)
    slot_of_window = np.full(int(ends[-1]) + 1, len(ends), np.int32)
    slot_of_window[ends] = np.arange(len(ends))  # what nobody asked for goes to one slot more

    first, of_run = np.unique(starts, return_inverse=True)
    reach = np.zeros(len(first), np.int32)
    np.maximum.at(reach, of_run, lengths)
    order = np.argsort(-reach, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    place_of_pair = place[of_run]
    by_place = np.argsort(place_of_pair, kind="stable")
    rows = min(rows, len(first))
    carry = jax.eval_shape(lambda p: model.carry(p, rows), params)
    probe = jax.ShapeDtypeStruct((1, rows), np.int32)
    hidden = jax.eval_shape(model.apply, params, probe, carry).hidden

    @jax.jit
    def read(params: Params, inputs: Array, begin: Array, windows: Array) -> Array:
        """States [slots + 1, rows, H] after each wanted length."""

        def body(step: Array, loop: tuple) -> tuple:
            carry, states = loop
            here = begin[None, :] + step * window + jnp.arange(window)[:, None]
            # A shorter run continues beside a longer one, at the end of the text on the last token.
            outputs = model.apply(params, inputs.at[here].get(mode="clip"), carry)
            slot = jnp.asarray(slot_of_window)[step]
            return outputs.carry, states.at[slot].set(outputs.hidden[-1])

        states = jnp.zeros((len(ends) + 1, rows, hidden.shape[-1]), hidden.dtype)
        return jax.lax.fori_loop(0, windows, body, (model.carry(params, rows), states))[1]

    @jax.jit
    def score(params: Params, states: Array, slots: Array, row: Array, targets: Array) -> Array:
        return _nats(model.head(params, states[slots, row]), targets)

    found = np.zeros(len(starts), np.float32)
    done, total = 0, int(reach.sum())
    for top in range(0, len(order), rows):
        batch = order[top : top + rows]
        # Rows beyond the last run read the text's first tokens again; nobody looks at them.
        begin = np.zeros(rows, np.int32)
        begin[: len(batch)] = first[batch]
        windows = int(reach[batch[0]]) // window
        states = read(params, inputs, begin, jnp.int32(windows))
        low, high = np.searchsorted(place_of_pair[by_place], [top, top + len(batch)])
        for part in range(low, high, SCORED):
            pairs = by_place[part : min(part + SCORED, high)]
            fill = functools.partial(np.pad, pad_width=(0, SCORED - len(pairs)))
            nats = score(
                params, states, fill(slot[pairs]), fill(place_of_pair[pairs] - top), fill(targets[pairs])
            )
            found[pairs] = np.asarray(nats)[: len(pairs)]
        done += int(reach[batch].sum())
        progress(done, total)
    return found


def round_stride(stride: float) -> int:
    """The largest of 1, 2, 5, 10, 20, 50, ... that is at most `stride`, which is 1 or more."""
    power = 10 ** math.floor(math.log10(stride))
    return max(step * power for step in (1, 2, 5) if step * power <= stride)


def mean_and_error(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the last axis, and its standard error (NaN of one value), in float64.

    The values are taken as independent draws.
    """
    values = np.asarray(values, np.float64)
    count = values.shape[-1]
    spread = values.std(axis=-1, ddof=1) if count > 1 else np.full(values.shape[:-1], np.nan)
    return values.mean(axis=-1), spread / math.sqrt(count)
