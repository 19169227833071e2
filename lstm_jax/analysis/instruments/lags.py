"""How far back a run's loss feels its inputs: gradient norms by lag, trained and at initialisation.

Lags end where a window begins. The carry that it begins with is what the window before left, where the task's
windows follow each other (continual_reber), as in training and evaluation.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.analysis import lags
from lstm_jax.analysis.instruments.base import Instrument, Measurement, Options, Progress, title_of
from lstm_jax.analysis.instruments.windows import batches, kind_of, real_steps, unit_of
from lstm_jax.models import Outputs
from lstm_jax.models.carry import from_start
from lstm_jax.predict import Run
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params
from lstm_jax.tasks.base import Batch

__all__ = ["LAGS"]

TARGETS = 8
"""Losses of one sequence that are followed back."""
ROWS = 16
"""Sequences in one compiled call."""
SHARES = (0.1, 0.01, 0.001)


class _Work(NamedTuple):
    """Sequences and the steps whose losses are followed back: at [M, B], real [M, B] bool."""

    batch: Batch
    at: np.ndarray
    real: np.ndarray


def _from_text(run: Run, options: Options) -> list[_Work]:
    """Stretches of three times the longest lag, drawn without overlap; the losses of their last third.

    So every loss has the longest lag before it, and as much text again before that to fill the memory.
    """
    corpus = run.task.corpus
    assert corpus is not None
    tokens = np.asarray(corpus.tokens[options.split])
    longest = options.max_lag
    length = 3 * longest
    places = (len(tokens) - 1) // length
    if places < 1:
        raise UserError(
            f"the {options.split} split has {len(tokens)} tokens: lags up to {longest} need stretches "
            f"of {length}; try --max_lag={max(1, (len(tokens) - 1) // 3)}"
        )
    count = min(places, max(1, options.tokens // length))
    drawn = np.random.default_rng(options.seed).choice(places, count, replace=False)
    starts = np.sort(drawn) * length
    at = np.unique(np.linspace(2 * longest, length - 1, TARGETS).astype(int))
    work = []
    for first in range(0, count, ROWS):
        # Rows that fill up the last call are read and left out: one shape, one compile.
        rows = np.resize(starts[first : first + ROWS], min(ROWS, count))
        there = np.arange(len(rows)) < len(starts[first : first + ROWS])
        where = rows[None] + np.arange(length)[:, None]
        batch = Batch(jnp.asarray(tokens[where]), jnp.asarray(tokens[where + 1]), fresh=True)
        steps = np.broadcast_to(at[:, None], (len(at), len(rows)))
        work.append(_Work(batch, steps, np.broadcast_to(there, steps.shape)))
    return work


def _from_task(run: Run, options: Options) -> Iterator[_Work]:
    """Sequences of the task and up to eight scored steps of each, evenly among these."""
    read = 0
    for batch in batches(run, options.split):
        scored = np.asarray(real_steps(batch))
        if batch.weights is not None:
            scored = scored & (np.asarray(batch.weights) > 0)
        counts = scored.sum(0)
        most = min(TARGETS, int(counts.max()))
        at = np.zeros((most, scored.shape[1]), np.int32)
        real = np.zeros(at.shape, bool)
        for row in range(scored.shape[1]):
            steps = np.flatnonzero(scored[:, row])
            if len(steps):
                picked = steps[np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))]
                at[: len(picked), row], real[: len(picked), row] = picked, True
        if most:
            yield _Work(batch, at, real)
        read += scored.shape[0] * scored.shape[1]
        if read >= options.tokens:
            return


def _norms(run: Run, work: list[_Work], options: Options, progress: Progress) -> dict[str, np.ndarray]:
    """[K + 1, N] gradient norms at initialisation and of the trained parameters."""
    model, task = run.model, run.task

    @jax.jit
    def measure(params: Params, carry: tuple, batch: Batch, at: Array, real: Array) -> tuple[tuple, Array]:
        carry = from_start(model, params, carry, batch)

        def read(embedded: Array) -> Outputs:
            return model.apply(params, embedded, carry, lengths=batch.lengths, resets=batch.resets)

        def losses(embedded: Array) -> Array:
            logits = model.head(params, _taken(read(embedded).hidden, at))
            return task.loss(logits, batch._replace(targets=_taken(batch.targets, at), weights=None))

        tokens = jnp.issubdtype(batch.inputs.dtype, jnp.integer)
        embedded = params["embedding"][batch.inputs] if tokens else batch.inputs
        longest = min(options.max_lag, embedded.shape[0] - 1)
        return read(embedded).carry, lags.gradient_norms(losses, embedded, at, real, longest)

    found = {}
    for number, (name, params) in enumerate(
        (("at initialisation", run.initial_params), ("trained", run.params))
    ):
        parts = []
        carry = model.carry(params, work[0].at.shape[1])
        for index, one in enumerate(work):
            carry, part = measure(params, carry, one.batch, jnp.asarray(one.at), jnp.asarray(one.real))
            parts.append(np.asarray(part).reshape(len(part), -1))
            progress(number * len(work) + index + 1, 2 * len(work))
        found[name] = np.concatenate(parts, axis=1)
    return found


def _taken(values: Array, at: Array) -> Array:
    """Of values [T, B, ...] at the steps `at` [M, B]: [M, B, ...]."""
    index = at.reshape(*at.shape, *[1] * (values.ndim - 2))
    return jnp.take_along_axis(values, index, axis=0)


def _measure(run: Run, options: Options, progress: Progress) -> Measurement:
    work = _from_text(run, options) if run.is_language_model else list(_from_task(run, options))
    if not work:
        raise UserError(f"nothing is scored in the {options.split} split of the task {run.task_name!r}")
    found = {name: lags.by_lag(norms) for name, norms in _norms(run, work, options, progress).items()}
    unit = unit_of(run)
    values: dict[str, Any] = {"unit": unit, "split": options.split}
    lines = []
    fits: list[lags.Fit] = []
    for name, one in found.items():
        fits = [f for kind in ("exponential", "power law") if (f := lags.fit(one.mean, kind))]
        better = max(fits, key=lambda f: f.r2).kind if fits else None
        values[name] = {
            "gradient_by_lag": one.mean,
            "quartile_low": one.low,
            "quartile_high": one.high,
            "at_lag_0": one.at_zero,
            "samples": one.samples,
            "stays_below": {str(share): lags.reach(one.mean, share) for share in SHARES},
            "fits": [fit._asdict() for fit in fits],
            "better_fit": better,
        }
        last = len(one.mean) - 1
        told = ", ".join(
            f"{share:.1%} from lag {lag}" if (lag := lags.reach(one.mean, share)) is not None
            else f"{share:.1%} not within {last}"
            for share in SHARES
        )  # fmt: skip
        lines.append(f"{name}, lags 0 to {last}: gradient below {told}")
        lines += [
            f"  {fit.kind}: {fit.symbol} {fit.parameter:.3g}, R2 {fit.r2:.3f}"
            + (" (the better)" if fit.kind == better else "")
            for fit in fits
        ]
    trained = found["trained"]
    title = f"{title_of(run)}: gradient by lag, {trained.samples[0]} losses ({options.split})"
    figure = lags.figure(trained, fits, before=found["at initialisation"], unit=unit, title=title)
    return Measurement({"": figure}, values, lines)


def _unsupported(run: Run) -> str | None:
    if run.config["model"].get("name", "recurrent") == "recurrent":
        return None
    return f"the {kind_of(run)} reads tokens alone, and no embeddings in their place"


LAGS = Instrument(
    _measure, "gradient of the loss by lag, with an exponential and a power-law fit", _unsupported
)
