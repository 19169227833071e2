"""The tokens of a corpus: text to numbers and back, saved beside a run and read by what generates from it."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import lookup

__all__ = [
    "EOS",
    "SPLITTERS",
    "UNK",
    "Vocabulary",
    "build_vocabulary",
    "list_of_texts",
    "parse_vocabulary",
    "read_vocabulary",
    "read_vocabulary_text",
    "write_vocabulary",
]

EOS = "<eos>"
"""The end of a line at word level; at character level the line break itself is that token."""
UNK = "<unk>"
"""Stands for every token that the training split does not have (or has too rarely to learn from)."""
FORMAT = "lstm_jax vocabulary 1"


_OWN_END = re.compile(rf"[ \t]*{EOS}[ \t]*(?=\n)")
"""The end of a line that a tokenised text has written out already: it is the line break, not a second end."""


def _whitespace(text: str) -> list[str]:
    text = _OWN_END.sub("", text)
    return text.replace("\n", f" {EOS} ").split()


def _punctuation(text: str) -> list[str]:
    # Words, runs of one sign ("==", "..."), and the two reserved tokens, so that decoded text splits alike.
    pattern = rf"\n|{EOS}|{UNK}|\w+|([^\w\s])\1*"
    return [EOS if m[0] == "\n" else m[0] for m in re.finditer(pattern, _OWN_END.sub("", text))]


SPLITTERS: dict[str, Callable[[str], Sequence[str]]] = {
    "whitespace": _whitespace,  # words as the file separates them: text that is already tokenised
    "punctuation": _punctuation,  # words and signs: plain prose and code
    "characters": str,  # a string is the sequence of its characters
}
"""How a text falls into tokens; a line break becomes the end-of-line token in each."""


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by number, the most frequent first.

    Attributes:
      tokens: [V] the tokens; number i is `tokens[i]`.
      splitter: a name of SPLITTERS.
    """

    tokens: tuple[str, ...]
    splitter: str

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def level(self) -> str:
        """What a token is: "char" or "word"."""
        return "char" if self.splitter == "characters" else "word"

    @property
    def eos(self) -> int:
        """Number of the end-of-line token, which is also the input before a text's first token."""
        return self.index["\n" if self.level == "char" else EOS]

    @property
    def unk(self) -> int | None:
        """Number of `<unk>`, or None where the vocabulary has none."""
        return self.index.get(UNK)

    @cached_property
    def index(self) -> dict[str, int]:
        """Numbers by token."""
        return {token: number for number, token in enumerate(self.tokens)}

    def encode(self, text: str, *, closed: bool = False, name: str = "the text") -> np.ndarray:
        """The numbers of a text's tokens, [N] int32; each line break is one end-of-line token.

        Args:
          text: any text; nothing is added at its end.
          closed: refuse unknown tokens even where `<unk>` could stand for them.
          name: what the text is, for the message.

        Raises:
          UserError: a token is unknown, and there is no `<unk>` or `closed` is set.
        """
        substitute = -1 if closed or self.unk is None else self.unk
        if self.splitter == "characters":
            numbers = self._encode_characters(text, substitute)
        else:
            get, words = self.index.get, SPLITTERS[self.splitter](text)
            numbers = np.fromiter((get(word, substitute) for word in words), np.int32, len(words))
        if np.any(numbers < 0):
            place = int(np.argmax(numbers < 0))
            token = SPLITTERS[self.splitter](text)[place]
            line = 1 + int(np.sum(numbers[:place] == self.eos))
            raise UserError(
                f"{name}, line {line}: token {token!r} is not among the {len(self)} tokens of the training "
                f"split{'' if closed else f', which has no {UNK} to stand for it'}: "
                f"{'check that the splits belong together' if closed else f'write {UNK} for rare tokens'}"
            )
        return numbers

    def _encode_characters(self, text: str, substitute: int) -> np.ndarray:
        codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        table = np.full(int(codes.max(initial=0)) + 1, substitute, np.int32)
        for number, token in enumerate(self.tokens):
            if len(token) == 1 and ord(token) < len(table):
                table[ord(token)] = number
        return table[codes]

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of some numbers: words joined by spaces, or characters as they are; lines are broken."""
        tokens = [self.tokens[int(number)] for number in numbers]
        if self.level == "char":
            return "".join(tokens)
        return re.sub(r" ?\n ?", "\n", " ".join("\n" if token == EOS else token for token in tokens))


def build_vocabulary(text: str, splitter: str, min_count: int = 1) -> Vocabulary:
    """The vocabulary of a training text: tokens by falling frequency, then by alphabet.

    Tokens that occur fewer than `min_count` times become `<unk>`; where that is so for none, and the
    text itself (at word level) does not write `<unk>`, there is no `<unk>`: a class without a single
    training example would be scored but never learnt. The end-of-line token is always there.

    Raises:
      UserError: no such splitter.
    """
    if lookup(SPLITTERS, splitter, "splitter") is str:
        codes, sums = np.unique(np.frombuffer(text.encode("utf-32-le"), np.uint32), return_counts=True)
        counts = {chr(code): int(count) for code, count in zip(codes, sums, strict=True)}
        counts.setdefault("\n", 0)
        kept = {"\n"}
    else:
        counts = {EOS: 0}
        for token in SPLITTERS[splitter](text):
            counts[token] = counts.get(token, 0) + 1
        kept = {EOS, UNK}
    rare = [token for token, count in counts.items() if count < min_count and token not in kept]
    if rare:
        counts[UNK] = counts.get(UNK, 0) + sum(counts.pop(token) for token in rare)
    return Vocabulary(tuple(sorted(counts, key=lambda token: (-counts[token], token))), splitter)


def write_vocabulary(vocabulary: Vocabulary, path: str | Path, more: Mapping[str, Any] = {}) -> None:
    """Writes a vocabulary as JSON, with `more` fields beside it; `read_vocabulary` reads it."""
    content = {"format": FORMAT, "splitter": vocabulary.splitter, **more, "tokens": vocabulary.tokens}
    Path(path).write_text(json.dumps(content, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def read_vocabulary(path: str | Path) -> Vocabulary:
    """Reads what `write_vocabulary` wrote.

    Raises:
      UserError: no such file, or it holds something else.
    """
    return parse_vocabulary(read_vocabulary_text(path), str(path))


def read_vocabulary_text(path: str | Path) -> str:
    """The text of such a file, unparsed. Raises UserError where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read the vocabulary {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a vocabulary: {error}") from error


def parse_vocabulary(text: str, name: str) -> Vocabulary:
    """The vocabulary in the text of such a file.

    Args:
      text: JSON.
      name: where it stood, for messages.

    Raises:
      UserError: it is something else.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not a vocabulary: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{name} is not a vocabulary: expected the format {FORMAT!r}")
    for field in ("splitter", "tokens"):
        if field not in content:
            raise UserError(f"{name} is not a vocabulary: it lacks {field!r}")
    lookup(SPLITTERS, str(content["splitter"]), "splitter")
    tokens = list_of_texts(content["tokens"], f"{name} is not a vocabulary: its tokens")
    return Vocabulary(tokens, content["splitter"])


def list_of_texts(value: Any, what: str) -> tuple[str, ...]:
    """A list of texts as a tuple. Raises UserError where it is something else; `what` begins the message."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UserError(f"{what} are no list of texts")
    return tuple(value)
