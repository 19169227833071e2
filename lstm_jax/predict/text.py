"""Text in and out: which words a vocabulary does not know, and tokens set as a person reads them."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from lstm_jax.corpora import Vocabulary
from lstm_jax.corpora.vocabulary import EOS, SPLITTERS, UNK
from lstm_jax.support.errors import UserError

__all__ = ["describe_unknown", "encode", "readable", "unknown"]

_TIGHT_LEFT = re.compile(r" (?=(?:[,.;:!?%)\]}]+|n't|'(?:s|re|ve|ll|d|m)?)(?:\s|$))")
_TIGHT_RIGHT = re.compile(r"(?<=[(\[{$#]) ")


def encode(vocabulary: Vocabulary, text: str, what: str) -> tuple[list[str], np.ndarray]:
    """Splits a text into tokens as they are written, and their numbers [N] int32.

    Args:
      vocabulary: of the run.
      text: any text; a line break is an end-of-line token.
      what: what the text is, for the message, e.g. "the prompt".

    Raises:
      UserError: a token is unknown, and the vocabulary has no `<unk>` to stand for it.
    """
    written = list(SPLITTERS[vocabulary.splitter](text))
    if vocabulary.unk is None:
        strange = unknown(vocabulary, written)
        if strange:
            raise UserError(
                f"{what}: the model does not know {_list(strange)}, and its vocabulary of {len(vocabulary)} "
                f"tokens has no {UNK} to stand for it: leave it out or write it otherwise"
            )
    return written, vocabulary.encode(text)


def unknown(vocabulary: Vocabulary, written: Iterable[str]) -> tuple[str, ...]:
    """The tokens that the vocabulary lacks, each once, in order."""
    return tuple(dict.fromkeys(token for token in written if token not in vocabulary.index))


def _list(tokens: Sequence[str], most: int = 8) -> str:
    more = f" and {len(tokens) - most} more" if len(tokens) > most else ""
    return ", ".join(map(repr, tokens[:most])) + more


def describe_unknown(vocabulary: Vocabulary, tokens: Sequence[str]) -> str:
    """One line that says what was read as `<unk>`, with the lower-case form where that is known."""
    lower = [token.lower() for token in tokens if token.lower() in vocabulary.index]
    hint = f" (known in lower case: {_list(lower)})" if lower else ""
    return f"not in the vocabulary, read as {UNK}: {_list(tokens)}{hint}"


def readable(vocabulary: Vocabulary, tokens: Iterable[str]) -> str:
    """Tokens as a person would set them: punctuation and contractions close up, lines break.

    For the eye only: it is not the inverse of splitting. `Vocabulary.decode` keeps a space between tokens.
    """
    if vocabulary.level == "char":
        return "".join(tokens)
    text = " ".join("\n" if token == EOS else token for token in tokens)
    text = re.sub(r" ?\n ?", "\n", text)
    return _TIGHT_RIGHT.sub("", _TIGHT_LEFT.sub("", text))
