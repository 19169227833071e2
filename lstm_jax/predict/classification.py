"""A trained classifier of texts: labels and their probabilities, from a run's directory alone."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.predict.run import Run
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params

__all__ = ["Classifier", "Prediction"]

ROWS = 32
"""Texts in one compiled call; fewer are filled up, so that one call serves every number of texts."""
SHORTEST = 16
"""Texts are padded to this length, or twice it, or twice that: few shapes to compile."""


class Prediction(NamedTuple):
    """What a text is taken for.

    Attributes:
      label: the likeliest.
      probabilities: of every label, the likeliest first; they add up to 1.
    """

    label: str
    probabilities: dict[str, float]


class Classifier:
    """A run of the task `text_classification`; texts are read as in training, by the vocabulary it saved.

    Args:
      run: its directory, or a `Run`. No data is read, and nothing in the directory is changed.

    Raises:
      UserError: not such a run, or one without a checkpoint.
    """

    def __init__(self, run: Run | str | os.PathLike[str]):
        self.run = run if isinstance(run, Run) else Run(run)
        if not self.run.is_classifier:
            raise UserError(
                f"{self.run.paths.root} is a run of the task {self.run.task_name!r}, which labels no texts: "
                "give one of experiments/classify.py"
            )
        self.encoder = self.run.encoder
        model = self.run.model

        @jax.jit
        def log_probabilities(params: Params, tokens: Array, lengths: Array) -> Array:
            """Tokens [T, B], lengths [B] -> [B, O], of the last real step."""
            logits = model.apply(params, tokens, model.carry(params, len(lengths)), lengths=lengths).logits
            last = logits[lengths - 1, jnp.arange(len(lengths))]
            return jax.nn.log_softmax(last.astype(jnp.float32))

        self._log_probabilities = log_probabilities

    def __reduce__(self) -> tuple:
        """Pickles the run's directory: another process reads it there."""
        return type(self), (str(self.run.paths.root),)

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, in the order of their classes."""
        return self.encoder.labels

    def unknown(self, text: str) -> tuple[str, ...]:
        """The tokens of a text that training did not have (often enough), each once: read as `<unk>`."""
        return self.encoder.encode(text).unknown

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Label and probabilities of each text, in order; an empty text is one too.

        What goes with a text in one call changes its probabilities by rounding at most.

        Raises:
          UserError: texts is no list of strings, or the run has no checkpoint yet, or it does not fit.
        """
        return [self._prediction(row) for row in self.log_probabilities(texts)]

    def log_probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """[N, O] float32, of each text and class. Raises as `predict`."""
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts or ()) or texts is None:
            raise UserError(
                f"texts must be a list of strings, not {type(texts).__name__}: for one text give [text]"
            )
        read = [self.encoder.encode(text).tokens for text in texts]
        found = np.empty((len(read), len(self.labels)), np.float32)
        order = sorted(range(len(read)), key=lambda place: len(read[place]))
        for first in range(0, len(order), ROWS):
            places = order[first : first + ROWS]
            steps = SHORTEST
            while steps < len(read[places[-1]]):
                steps *= 2
            tokens, lengths = np.zeros((steps, ROWS), np.int32), np.ones(ROWS, np.int32)
            for row, place in enumerate(places):
                lengths[row] = len(read[place])
                tokens[: lengths[row], row] = read[place]
            given = self._log_probabilities(self.run.params, jnp.asarray(tokens), jnp.asarray(lengths))
            found[places] = np.asarray(given)[: len(places)]
        return found

    def _prediction(self, log_probabilities: np.ndarray) -> Prediction:
        order = np.argsort(-log_probabilities, kind="stable")
        chances = np.exp(log_probabilities.astype(np.float64))
        chances /= chances.sum()
        return Prediction(self.labels[order[0]], {self.labels[k]: float(chances[k]) for k in order})
