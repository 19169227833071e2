"""The embedded corpus: the language reference that Python carries for `help()` (`pydoc_data.topics`).

Real prose and code, about 390,000 characters, on every machine and without a licence question. The text
differs from one Python version to the next, so figures on it compare runs under one version only; it is
for tests and first steps, not for results. Its topics repeat whole passages of each other, so a naive
split would leak: see `split_topics`.
"""

import sys
import zlib
from collections.abc import Mapping

from lstm_jax.corpora.corpus import Corpus, build_corpus
from lstm_jax.support.errors import UserError

__all__ = ["load", "split_topics"]

HELD_OUT = 0.1
"""Share of the characters for test, and as much for valid, at least."""
LARGEST = 0.06
"""A topic with more than this share of the characters always trains: it would be a split by itself."""
MIN_COUNT = {"word": 2, "char": 6}
"""Rarer tokens become `<unk>`. At character level a few signs stand once to five times in every version:
they make the `<unk>` that keeps any other version's odd sign from being an error."""


def split_topics(topics: Mapping[str, str]) -> dict[str, str]:
    """Whole topics to each split, and no line in two of them.

    Topics are taken in the order of their names' CRC-32 until test is full, then until valid is, and the
    rest train. Lines are compared with their whitespace made equal. Test keeps its lines, valid gives up
    those that test has, train those that either has: what is held out stays whole. Lines without a
    letter or digit (rules, blank lines) are left out everywhere.
    """
    total = sum(map(len, topics.values()))
    queue = sorted(topics, key=lambda name: (zlib.crc32(name.encode()), name))
    taken: set[str] = set()  # lines of the splits that are already filled
    texts = {}
    for split in ("test", "valid", "train"):
        names, size = [], 0
        for name in queue:
            if split == "train" or (size < HELD_OUT * total and len(topics[name]) <= LARGEST * total):
                names.append(name)
                size += len(topics[name])
        queue = [name for name in queue if name not in names]
        lines = [line.rstrip() for name in sorted(names) for line in topics[name].split("\n")]
        lines = [
            line for line in lines if any(map(str.isalnum, line)) and " ".join(line.split()) not in taken
        ]
        taken |= {" ".join(line.split()) for line in lines}
        texts[split] = "".join(line + "\n" for line in lines)
    return texts


def load(data_dir: str, level: str) -> Corpus:
    """The embedded corpus; `data_dir` is not looked at.

    Raises:
      UserError: this Python was installed without `pydoc_data`.
    """
    del data_dir
    try:
        from pydoc_data import topics
    except ImportError as error:
        raise UserError(
            f"the Python at {sys.executable} comes without pydoc_data, the embedded corpus: use "
            "task.corpus=text with a task.data_dir, or a full installation of Python"
        ) from error
    corpus = build_corpus(
        "pydoc",
        split_topics(topics.topics),
        splitter="punctuation" if level == "word" else "characters",
        min_count=MIN_COUNT[level],
    )
    return corpus._replace(facts={**corpus.facts, "python": ".".join(map(str, sys.version_info[:3]))})
