"""One sequence to look at closely: a given text, a line of the corpus, or an example of the task."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from lstm_jax.analysis.gates import MOST_TOKENS
from lstm_jax.analysis.instruments.base import Options
from lstm_jax.analysis.instruments.windows import batches, real_steps
from lstm_jax.predict import Run
from lstm_jax.predict.text import describe_unknown, encode, unknown
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array

__all__ = ["OneSequence", "one_sequence"]

LENGTHS = (12, 30)
"""Tokens of the sentence that is taken where none is given."""


class OneSequence(NamedTuple):
    """inputs [T, 1] or [T, 1, D]; a label for each step; what to tell about it."""

    inputs: Array
    labels: list[str]
    told: list[str]


def _sentence(run: Run, text: str) -> OneSequence:
    """The text as the beginning of a line: after an end of line, from an empty memory."""
    vocabulary = run.vocabulary
    written, numbers = encode(vocabulary, text, "the text")
    if not written:
        raise UserError("the text has no tokens: give a sentence, e.g. --text='the company said'")
    strange = unknown(vocabulary, written)
    told = [describe_unknown(vocabulary, strange)] if strange else []
    labels = [word if word in vocabulary.index else f"({word})" for word in written]
    inputs = np.concatenate([[vocabulary.eos], numbers])
    return OneSequence(jnp.asarray(inputs)[:, None], [vocabulary.tokens[vocabulary.eos], *labels], told)


def _labelled(run: Run, text: str) -> OneSequence:
    """The text as a classifier reads it, its end of line behind it."""
    read, tokens = run.encoder.encode(text), run.encoder.vocabulary.tokens
    told = [describe_unknown(run.encoder.vocabulary, read.unknown)] if read.unknown else []
    return OneSequence(jnp.asarray(read.tokens)[:, None], [tokens[int(n)] for n in read.tokens], told)


def _line_of(run: Run, split: str, seed: int) -> OneSequence:
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
    numbers = tokens[starts[chosen] : ends[chosen]][: MOST_TOKENS - 1]
    inputs = np.concatenate([[vocabulary.eos], numbers]).astype(np.int32)
    return OneSequence(jnp.asarray(inputs)[:, None], [vocabulary.tokens[int(n)] for n in inputs], [])


def _episode(run: Run, split: str, seed: int) -> OneSequence:
    """One sequence of a task that is no text: a row of its first window, from its beginning."""
    batch = next(batches(run, split))
    row = int(np.random.default_rng(seed).integers(batch.inputs.shape[1]))
    steps = int(real_steps(batch)[:, row].sum())
    shown = min(steps, MOST_TOKENS)
    inputs = batch.inputs[:shown, row : row + 1]
    if run.is_classifier:
        labels = [run.encoder.vocabulary.tokens[int(token)] for token in inputs[:, 0]]
    elif jnp.issubdtype(inputs.dtype, jnp.integer):
        words = run.task.facts.get("words")
        labels = [words[int(token)] if words else str(int(token)) for token in inputs[:, 0]]
    else:
        labels = [str(step) if step % 10 == 0 else "" for step in range(shown)]
    told = [f"the first {shown} of {steps} steps of a sequence"] if shown < steps else []
    return OneSequence(inputs, labels, told)


def one_sequence(run: Run, options: Options) -> OneSequence:
    """The text of the options; else a line of the split, or of a task that is no text, one of its sequences.

    Raises:
      UserError: a text for a run that reads none, without tokens, or of more than fit on an axis.
    """
    if not options.text:
        return (_line_of if run.is_language_model else _episode)(run, options.split, options.seed)
    if not (run.is_language_model or run.is_classifier):
        raise UserError(f"a run of the task {run.task_name!r} reads no text: leave --text out")
    sequence = (_labelled if run.is_classifier else _sentence)(run, options.text)
    if len(sequence.labels) > MOST_TOKENS:
        raise UserError(
            f"the text has {len(sequence.labels) - 1} tokens: no more than {MOST_TOKENS - 1} fit on an axis"
        )
    return sequence
