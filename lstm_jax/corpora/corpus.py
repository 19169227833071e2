"""What a corpus is: a vocabulary and one flat array of tokens a split."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lstm_jax.corpora.vocabulary import Vocabulary, build_vocabulary
from lstm_jax.support.errors import UserError

__all__ = ["LEVELS", "SPLITS", "Corpus", "build_corpus"]

SPLITS = ("train", "valid", "test")
LEVELS = ("word", "char")


class Corpus(NamedTuple):
    """A text in three splits.

    Attributes:
      name: as in CORPORA.
      vocabulary: built from the training split alone.
      tokens: split -> [N] int32 numbers, each line closed by the end-of-line token.
      facts: what a run should print and record: plain numbers and strings.
    """

    name: str
    vocabulary: Vocabulary
    tokens: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def build_corpus(
    name: str, texts: Mapping[str, str], *, splitter: str, min_count: int = 1, closed: bool = False
) -> Corpus:
    """Builds the vocabulary from `texts["train"]` and encodes every split with it.

    Among the facts is a fingerprint of the vocabulary and of all that is read with it.

    Args:
      name: the corpus's name.
      texts: split -> text whose lines end in a line break.
      splitter: a name of `vocabulary.SPLITTERS`.
      min_count: training tokens rarer than this become `<unk>`.
      closed: refuse tokens of valid and test that train does not have, even where `<unk>` exists.

    Raises:
      UserError: a split without a token, or an unknown token that `<unk>` may not stand for.
    """
    for split in SPLITS:
        if not texts[split].strip():
            raise UserError(f"the {split} split of the corpus {name!r} is empty: it needs at least one token")
    vocabulary = build_vocabulary(texts["train"], splitter, min_count)
    tokens = {
        split: vocabulary.encode(texts[split], closed=closed, name=f"the {split} split of {name!r}")
        for split in SPLITS
    }
    facts: dict[str, Any] = {
        "corpus": name,
        "level": vocabulary.level,
        "splitter": splitter,
        "vocabulary_size": len(vocabulary),
    }
    digest = hashlib.sha256("\0".join(vocabulary.tokens).encode())
    for split in SPLITS:
        facts[f"{split}_tokens"] = len(tokens[split])
        digest.update(f"{split}\0{len(tokens[split])}\0".encode() + tokens[split].astype("<i4").tobytes())
        facts[f"{split}_unk_rate"] = (
            0.0 if vocabulary.unk is None else float(np.mean(tokens[split] == vocabulary.unk))
        )
    return Corpus(name, vocabulary, tokens, {**facts, "fingerprint": digest.hexdigest()[:12]})
