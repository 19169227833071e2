"""What a text run answers to a text: next words, or a label; as JSON's own types, and as lines to read."""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lstm_jax.corpora import Vocabulary
from lstm_jax.corpora.printable import printable
from lstm_jax.predict.classification import Classifier
from lstm_jax.predict.loading import model_of
from lstm_jax.predict.reading import Reader
from lstm_jax.predict.run import Run
from lstm_jax.predict.text import describe_unknown
from lstm_jax.support.errors import UserError

__all__ = ["Answerer", "answerer", "labels", "needs_text", "remarks"]

Answer = dict[str, Any]
BAR = 24
"""Characters of a bar of probability 1."""


class Answerer(NamedTuple):
    """How a run answers.

    Attributes:
      answer: (text) -> its answer in JSON's own types; raises UserError for a text that it cannot read, and
        where the run's numbers are not finite.
      lines: (answer) -> what a person reads on a terminal.
      asks: what to type, for the prompt's first line.
    """

    answer: Callable[[str], Answer]
    lines: Callable[[Answer], list[str]]
    asks: str


def needs_text(run: Run, what: str) -> None:
    """Raises UserError unless the run reads text; `what` is the command that cannot do without."""
    if not (run.is_language_model or run.is_classifier):
        raise UserError(
            f"{what} answers runs of texts only, and {run.paths.root} holds one of the task "
            f"{run.task_name!r}: see what it does with experiments/analyze.py --run={run.paths.root}"
        )


def answerer(directory: str | os.PathLike[str], *, top: int = 5, surprisal: bool = False) -> Answerer:
    """The answerer of a run's directory.

    Args:
      directory: of a language model's run, or a classifier's.
      top: next words that are told; of a classifier's labels all are.
      surprisal: whether the surprisal of what was typed is told; a classifier has none.

    Raises:
      UserError: no run's directory, not of texts, nothing trained yet, or a wrong `top`.
    """
    run = Run(directory)
    needs_text(run, "predict")
    if run.is_classifier:
        if surprisal:
            raise UserError(f"{run.paths.root} labels texts and predicts no words: leave --surprisal out")
        return labels(Classifier(run))
    return _next_words(Reader(model_of(run), top), surprisal)


def labels(classifier: Classifier) -> Answerer:
    """The answerer of a classifier: {"label", "probabilities" (likeliest first), "unknown", "left_out"}."""
    vocabulary = classifier.encoder.vocabulary

    def answer(text: str) -> Answer:
        (found,) = classifier.predict([text])
        read = classifier.encoder.encode(text)
        return {
            "label": found.label,
            "probabilities": {label: _short(p) for label, p in found.probabilities.items()},
            "unknown": list(read.unknown),
            "left_out": read.left_out,
        }

    def lines(found: Answer) -> list[str]:
        return remarks(vocabulary, found) + _bars(
            [(printable(k), p) for k, p in found["probabilities"].items()]
        )

    return Answerer(answer, lines, "a text")


def remarks(vocabulary: Vocabulary, found: Answer) -> list[str]:
    """What a person should know of how the text was read: unknown tokens, and what was too long."""
    said = [describe_unknown(vocabulary, found["unknown"])] if found["unknown"] else []
    if left_out := found.get("left_out"):
        said.append(f"the last {left_out} tokens were left out: the run reads no more of a text")
    return said


def _next_words(reader: Reader, surprisal: bool) -> Answerer:
    vocabulary = reader.vocabulary

    def answer(text: str) -> Answer:
        read = reader.read(text)
        pairs = zip(read.expected[-1], read.probabilities[-1], strict=True)
        found: Answer = {
            "next": [{"token": vocabulary.tokens[int(n)], "probability": _short(p)} for n, p in pairs],
            "unknown": list(read.unknown),
        }
        if surprisal:
            rows = zip(read.tokens, read.bits, strict=True)
            found["surprisal"] = [{"token": token, "bits": _short(bits)} for token, bits in rows]
        return found

    def lines(found: Answer) -> list[str]:
        said = remarks(vocabulary, found)
        if found.get("surprisal"):
            said += [f"{row['bits']:>8.2f} bits  {printable(row['token'])}" for row in found["surprisal"]]
            mean = sum(row["bits"] for row in found["surprisal"]) / len(found["surprisal"])
            said += [f"{mean:>8.2f} bits a token in the mean; next:"]
        return said + _bars([(printable(row["token"]), row["probability"]) for row in found["next"]])

    unit = "text" if vocabulary.level == "char" else "words"
    return Answerer(answer, lines, f"the beginning of a line of {unit}")


def _bars(rows: Sequence[tuple[str, float]]) -> list[str]:
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{100 * p:>7.2f} %  {name:<{width}}  {'█' * round(BAR * p)}".rstrip() for name, p in rows]


def _short(value: Any) -> float:
    """Six significant figures: more than float32 sums are good for. Raises UserError for nan and inf."""
    if not math.isfinite(value):
        raise UserError(f"the run's answer is {value}, no number: its parameters are not fit for use")
    return float(f"{float(value):.6g}")
