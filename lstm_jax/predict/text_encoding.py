"""What the rows of a run's weights stand for: the tokens that it reads, and the labels of a classifier."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from lstm_jax.corpora import Encoder, Vocabulary, parse_encoder, parse_vocabulary, read_vocabulary
from lstm_jax.predict.run import Run
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Params

__all__ = ["TextEncoding", "parse_text_encoding", "read_tokens", "reorder_rows", "text_encoding_of"]

TextEncoding: TypeAlias = Vocabulary | Encoder
"""Of a language model, or of a classifier."""


def text_encoding_of(run: Run) -> TextEncoding | None:
    """Of a run; None where it reads no text. Raises UserError where it cannot be read."""
    if run.is_classifier:
        return run.encoder
    return run.vocabulary if run.is_language_model else None


def parse_text_encoding(text: str, name: str) -> TextEncoding:
    """Of the text of a vocabulary.json; `name` says where it stood. Raises UserError for something else."""
    vocabulary = parse_vocabulary(text, name)
    return parse_encoder(text, name) if "labels" in json.loads(text) else vocabulary


def reorder_rows(
    params: Params,
    theirs: TextEncoding | None,
    ours: TextEncoding | None,
    source: str,
    *,
    tokens: Sequence[str] | None = None,
    exact: bool = False,
) -> Params:
    """Parameters whose rows stand for what `theirs` says, put into the order of `ours`.

    Args:
      params: of models.recurrent or models.classifier.
      theirs: None where it is not known: the order is then taken to be the same.
      ours: None where there is no text.
      source: of the parameters, for messages.
      tokens: of the rows of the embedding, in place of those of `theirs`.
      exact: whether texts must be cut at the same length, too.

    Raises:
      UserError: other tokens or labels, or texts that are read otherwise.
    """
    if ours is None:
        return params
    if theirs is not None:
        _check_alike(_reading_options(theirs, exact), _reading_options(ours, exact), source)
        tokens = _tokens(theirs) if tokens is None else tokens
    head = params["head"]
    if tokens is not None and tuple(tokens) != _tokens(ours):
        order = _order_of_tokens(tokens, _tokens(ours), source)
        params = {**params, "embedding": params["embedding"][order]}
        if isinstance(ours, Vocabulary):  # a classifier reads words and does not predict them
            head = _outputs(head, order)
    if isinstance(theirs, Encoder) and isinstance(ours, Encoder) and theirs.labels != ours.labels:
        if set(theirs.labels) != set(ours.labels):
            raise UserError(
                f"{source}: its labels are {_few(theirs.labels)}, and those of the run {_few(ours.labels)}: "
                "take a run with the same labels"
            )
        head = _outputs(head, np.array([theirs.classes[label] for label in ours.labels]))
    return {**params, "head": head}


def read_tokens(path: str | Path) -> tuple[str, ...]:
    """The tokens of a vocabulary of ours, NAME.json, or the lines of any other UTF-8 file, one token each.

    A line ends where a line feed is, or a carriage return and a line feed, and nowhere else: a token may have
    the other characters that break lines. A byte order mark before the first is left out.

    Raises:
      UserError: the file cannot be read.
    """
    path = Path(path)
    if path.suffix == ".json":
        return read_vocabulary(path).tokens
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the vocabulary {path}: {error}") from error
    return tuple(text.replace("\r\n", "\n").removesuffix("\n").split("\n"))


def _tokens(encoding: TextEncoding) -> tuple[str, ...]:
    return encoding.tokens if isinstance(encoding, Vocabulary) else encoding.vocabulary.tokens


def _reading_options(encoding: TextEncoding, exact: bool) -> dict[str, object]:
    """How texts become tokens."""
    if isinstance(encoding, Vocabulary):
        return {"task": "language_model", "splitter": encoding.splitter}
    options = {
        "task": "text_classification",
        "splitter": encoding.vocabulary.splitter,
        "lower": encoding.lower,
    }
    return options | ({"longest": encoding.longest} if exact else {})


def _check_alike(theirs: dict[str, object], ours: dict[str, object], source: str) -> None:
    for name, value in theirs.items():
        if value != ours.get(name):
            raise UserError(
                f"{source}: its texts are read with {name}={value}, and those of the run with "
                f"{name}={ours.get(name)}: take a run that reads alike"
            )


def _order_of_tokens(theirs: Sequence[str], ours: Sequence[str], source: str) -> np.ndarray:
    index = {token: number for number, token in enumerate(theirs)}
    missing = [token for token in ours if token not in index]
    if missing or len(theirs) != len(ours):
        lacks = f"lacks {missing[0]!r}" if missing else "has others besides, or one twice"
        raise UserError(
            f"{source}: its vocabulary of {len(theirs)} tokens {lacks}, and that of the run has {len(ours)}: "
            "take the same corpus, or give the tokens of a file's rows to experiments/convert.py "
            "(--vocabulary)"
        )
    return np.array([index[token] for token in ours])


def _outputs(head: Params, order: np.ndarray) -> Params:
    """A head whose outputs, the last axis of each leaf, are put in order."""
    return {name: leaf[..., order] for name, leaf in head.items()}


def _few(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
