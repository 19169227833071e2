"""Texts with a label each. Each source is a function of `Where` in the table LABELLED."""

from collections.abc import Callable
from typing import NamedTuple

from lstm_jax.corpora.labelled import keywords, tables, tfds_sets, topics
from lstm_jax.corpora.labelled.texts import LabelledTexts, Row, checked, split_documents, without_repeats
from lstm_jax.support.registry import lookup

__all__ = [
    "LABELLED",
    "LabelledTexts",
    "Row",
    "Where",
    "checked",
    "load_labelled",
    "split_documents",
    "without_repeats",
]


class Where(NamedTuple):
    """What a source may be told; each reads what concerns it.

    Attributes:
      data_dir: the directory of the files, or the one file; "" means the environment variable LSTM_JAX_DATA.
      text, label, document: columns of a table (`files`); document "": every text is its own.
      held_out: share of the texts for test, and as much for valid, where the source has one split.
      split_seed: of that split.
    """

    data_dir: str = ""
    text: str = "text"
    label: str = "label"
    document: str = ""
    held_out: float = 0.1
    split_seed: int = 0


LABELLED: dict[str, Callable[[Where], LabelledTexts]] = {
    "keywords": lambda where: keywords.load(where.held_out, where.split_seed),
    "topics": lambda where: topics.load(where.held_out, where.split_seed),
    "files": lambda where: tables.load(*where),
    "imdb_reviews": lambda where: tfds_sets.load("imdb_reviews", where.held_out, where.split_seed),
    "ag_news_subset": lambda where: tfds_sets.load("ag_news_subset", where.held_out, where.split_seed),
}
"""name -> load(where)."""


def load_labelled(source: str, where: Where) -> LabelledTexts:
    """The labelled texts of that name.

    Raises:
      UserError: an unknown name, or anything wrong with the texts.
    """
    return lookup(LABELLED, source, "source of labelled texts")(where)
