"""Text with a label as numbers and back: what a run saves so that whoever predicts with it reads alike."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lstm_jax.corpora.vocabulary import (
    SPLITTERS,
    UNK,
    Vocabulary,
    build_vocabulary,
    list_of_texts,
    parse_vocabulary,
    read_vocabulary_text,
    write_vocabulary,
)
from lstm_jax.support.errors import UserError

__all__ = ["PAD", "Encoded", "Encoder", "build_encoder", "parse_encoder", "read_encoder", "write_encoder"]

PAD = "<pad>"
"""Token number 0: what fills up the shorter ones of a batch. No text has it."""


@dataclass(frozen=True)
class Encoded:
    """A text as the network reads it.

    Attributes:
      tokens: [N] int32, N at least 1: the tokens and one end of line, none of them PAD.
      unknown: the tokens that the vocabulary lacks, each once, in order, as they are written.
      left_out: tokens beyond the longest that is read.
    """

    tokens: np.ndarray
    unknown: tuple[str, ...]
    left_out: int


@dataclass(frozen=True)
class Encoder:
    """How a text becomes tokens, and which labels there are.

    Attributes:
      vocabulary: token 0 is PAD; `<unk>` is always among them.
      labels: [O], by class.
      lower: whether texts are read in lower case.
      longest: tokens of a text that are read, the end of line among them; what follows is left out.
    """

    vocabulary: Vocabulary
    labels: tuple[str, ...]
    lower: bool
    longest: int

    @cached_property
    def classes(self) -> dict[str, int]:
        """Classes by label."""
        return {label: number for number, label in enumerate(self.labels)}

    def encode(self, text: str) -> Encoded:
        """Reads any text, an empty one too: that is its end of line alone."""
        text = text.lower() if self.lower else text
        tokens = self.vocabulary.encode(text)
        tokens[tokens == 0] = self.vocabulary.unk  # a text that writes PAD has no padding in it
        written = SPLITTERS[self.vocabulary.splitter](text)
        unknown = dict.fromkeys(
            written[int(place)] for place in np.flatnonzero(tokens == self.vocabulary.unk)
        )
        kept = tokens[: self.longest - 1]
        closed = np.append(kept, np.int32(self.vocabulary.eos)).astype(np.int32)
        return Encoded(closed, tuple(unknown), len(tokens) - len(kept))


def build_encoder(
    texts: Iterable[str],
    labels: Iterable[str],
    *,
    splitter: str,
    lower: bool = False,
    min_count: int = 1,
    longest: int = 256,
) -> Encoder:
    """The encoder of a training split.

    Args:
      texts: of the training split alone.
      labels: one a text; classes are in alphabetical order.
      splitter: a name of `vocabulary.SPLITTERS`.
      lower: read in lower case.
      min_count: tokens that are rarer become `<unk>`, which is always there: a text to come may have any.
      longest: tokens of a text that are read.

    Raises:
      UserError: no such splitter.
    """
    text = "\n".join(text.lower() if lower else text for text in texts)
    found = build_vocabulary(text, splitter, min_count)
    tokens = [token for token in found.tokens if token != PAD]
    if UNK not in tokens:
        tokens.append(UNK)
    return Encoder(Vocabulary((PAD, *tokens), splitter), tuple(sorted(set(labels))), lower, longest)


def write_encoder(encoder: Encoder, path: str | Path, more: Mapping[str, Any] = {}) -> None:
    """Writes an encoder as JSON, with `more` fields beside it.

    `read_encoder` reads it, and `read_vocabulary` its vocabulary.
    """
    own = {"labels": encoder.labels, "lower": encoder.lower, "longest": encoder.longest}
    write_vocabulary(encoder.vocabulary, path, {**own, **more})


def read_encoder(path: str | Path) -> Encoder:
    """Reads what `write_encoder` wrote.

    Raises:
      UserError: no such file, or it holds something else.
    """
    return parse_encoder(read_vocabulary_text(path), str(path))


def parse_encoder(text: str, name: str) -> Encoder:
    """The encoder in the text of such a file.

    Args:
      text: JSON.
      name: where it stood, for messages.

    Raises:
      UserError: it is something else.
    """
    vocabulary = parse_vocabulary(text, name)
    content: Mapping = json.loads(text)
    wrong = f"{name} is not a classifier's vocabulary"
    for field in ("labels", "lower", "longest"):
        if field not in content:
            raise UserError(f"{wrong}: it lacks {field!r}")
    labels = list_of_texts(content["labels"], f"{wrong}: its labels")
    lower, longest = content["lower"], content["longest"]
    if len(set(labels)) < len(labels):
        raise UserError(f"{wrong}: it has a label twice")
    if type(lower) is not bool or type(longest) is not int or longest < 1:
        raise UserError(f"{wrong}: lower={lower!r} must be true or false, longest={longest!r} 1 or more")
    return Encoder(vocabulary, labels, lower, longest)
