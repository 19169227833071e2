"""What the instruments that read a text share: its tokens, and the reason why a run has none."""

import numpy as np

from lstm_jax.corpora import Corpus
from lstm_jax.predict import Run

__all__ = ["corpus_of", "no_text", "split_tokens"]


def no_text(run: Run) -> str | None:
    """The reason why an instrument that reads a text does not fit; else None."""
    return None if run.is_language_model else f"it needs a text, and the task is {run.task_name!r}"


def corpus_of(run: Run) -> Corpus:
    """The corpus of a language model's run."""
    corpus = run.task.corpus
    assert corpus is not None  # `no_text` said so
    return corpus


def split_tokens(run: Run, split: str) -> tuple[np.ndarray, int]:
    """The tokens [N] of a split, and the one that is read before the first of them."""
    corpus = corpus_of(run)
    return np.asarray(corpus.tokens[split], np.int32), corpus.vocabulary.eos
