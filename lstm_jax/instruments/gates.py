"""The gates of a run over one sentence, or over one sequence of its task."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.analysis import gates
from lstm_jax.errors import UserError
from lstm_jax.instruments.base import Instrument, Options, Progress, Reading
from lstm_jax.instruments.timescales import of_layers
from lstm_jax.instruments.windows import batches, kind_of, real_steps, unit_of, without_gate
from lstm_jax.notation import Array
from lstm_jax.predict import Run
from lstm_jax.predict.text import describe_unknown, encode, unknown

__all__ = ["GATES"]

LENGTHS = (12, 30)
"""Tokens of the sentence that is taken where none is given."""


class _Sequence(NamedTuple):
    """inputs [T, 1] or [T, 1, D]; a label for each step; what to tell about it."""

    inputs: Array
    labels: list[str]
    told: list[str]


def _sentence(run: Run, text: str) -> _Sequence:
    """The text as the beginning of a line: after an end of line, from an empty memory."""
    vocabulary = run.vocabulary
    written, numbers = encode(vocabulary, text, "the text")
    if not written:
        raise UserError("the text has no tokens: give a sentence, e.g. --text='the company said'")
    strange = unknown(vocabulary, written)
    told = [describe_unknown(vocabulary, strange)] if strange else []
    labels = [word if word in vocabulary.index else f"({word})" for word in written]
    inputs = np.concatenate([[vocabulary.eos], numbers])
    return _Sequence(jnp.asarray(inputs)[:, None], [vocabulary.tokens[vocabulary.eos], *labels], told)


def _labelled(run: Run, text: str) -> _Sequence:
    """The text as a classifier reads it, its end of line behind it."""
    read, tokens = run.encoder.encode(text), run.encoder.vocabulary.tokens
    told = [describe_unknown(run.encoder.vocabulary, read.unknown)] if read.unknown else []
    return _Sequence(jnp.asarray(read.tokens)[:, None], [tokens[int(n)] for n in read.tokens], told)


def _line_of(run: Run, split: str, seed: int) -> _Sequence:
    """A line of the split, drawn among those of 12 to 30 tokens (the nearest, where there are none)."""
    corpus = run.task.corpus
    assert corpus is not None
    vocabulary, tokens = run.vocabulary, np.asarray(corpus.tokens[split])
    ends = np.flatnonzero(tokens == vocabulary.eos)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else np.zeros(1, int)
    ends = ends if len(ends) else np.array([len(tokens)])
    lengths = ends - starts
    away = np.maximum(LENGTHS[0] - lengths, 0) + np.maximum(lengths - LENGTHS[1], 0)
    best = np.flatnonzero(away == away.min())
    chosen = best[np.random.default_rng(seed).integers(len(best))]
    numbers = tokens[starts[chosen] : ends[chosen]][: gates.MOST_TOKENS - 1]
    inputs = np.concatenate([[vocabulary.eos], numbers]).astype(np.int32)
    return _Sequence(jnp.asarray(inputs)[:, None], [vocabulary.tokens[int(n)] for n in inputs], [])


def _episode(run: Run, split: str, seed: int) -> _Sequence:
    """One sequence of a task that is no text: a row of its first window, from its beginning."""
    batch = next(batches(run, split))
    row = int(np.random.default_rng(seed).integers(batch.inputs.shape[1]))
    steps = int(real_steps(batch)[:, row].sum())
    shown = min(steps, gates.MOST_TOKENS)
    inputs = batch.inputs[:shown, row : row + 1]
    if run.is_classifier:
        labels = [run.encoder.vocabulary.tokens[int(token)] for token in inputs[:, 0]]
    elif jnp.issubdtype(inputs.dtype, jnp.integer):
        labels = [str(int(token)) for token in inputs[:, 0]]
    else:
        labels = [str(step) if step % 10 == 0 else "" for step in range(shown)]
    told = [f"the first {shown} of {steps} steps of a sequence"] if shown < steps else []
    return _Sequence(inputs, labels, told)


def _measure(run: Run, options: Options, progress: Progress) -> Reading:
    if options.text:
        if not (run.is_language_model or run.is_classifier):
            raise UserError(f"a run of the task {run.task_name!r} reads no text: leave --text out")
        sequence = (_labelled if run.is_classifier else _sentence)(run, options.text)
        if len(sequence.labels) > gates.MOST_TOKENS:
            raise UserError(
                f"the text has {len(sequence.labels) - 1} tokens: no more than {gates.MOST_TOKENS - 1} "
                "fit on an axis"
            )
    elif run.is_language_model:
        sequence = _line_of(run, options.split, options.seed)
    else:
        sequence = _episode(run, options.split, options.seed)

    carry = run.model.carry(run.params, 1)
    traces = jax.jit(lambda p, x, c: run.model.apply(p, x, c).traces)(run.params, sequence.inputs, carry)
    scales: list[np.ndarray | None] = [None] * len(traces)
    if without_gate(run, "f") is None:
        scales = [found.product for found in of_layers(run, run.params, options, progress)[0]]
    unit = unit_of(run)
    figures, layers = {}, []
    for index, (trace, scale) in enumerate(zip(traces, scales, strict=True)):
        flat = {name: np.asarray(value)[:, 0] for name, value in trace.items() if value.ndim == 3}
        order = None if scale is None else np.argsort(scale, kind="stable")
        title = f"{run.paths.root.name}, layer {index + 1}"
        figures[f"layer{index + 1}"] = gates.figure(
            flat, sequence.labels, order=order, scale=scale, unit=unit, title=title
        )
        row: dict[str, Any] = {name: {"mean_by_step": value.mean(1)} for name, value in flat.items()}
        layers.append(row | {"time_scale": scale, "order": order})
    values = {"inputs": sequence.labels, "unit": unit, "layers": layers}
    lines = [*sequence.told, f"{len(sequence.labels)} {unit}: {' '.join(filter(None, sequence.labels))}"]
    return Reading(figures, values, lines)


def _misfit(run: Run) -> str | None:
    if all(run.traced):
        return None
    return f"the {kind_of(run)} has no gates at all"


GATES = Instrument(_measure, "every gate of every unit while a sentence is read, as heat maps", _misfit)
