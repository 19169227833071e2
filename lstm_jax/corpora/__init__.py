"""Texts, labelled texts and images, with their vocabularies; CORPORA is the table of text sources.

Imports `runs` and `support`.
"""

from collections.abc import Callable

from lstm_jax.corpora import ptb, pydoc, text
from lstm_jax.corpora.baselines import baselines
from lstm_jax.corpora.corpus import LEVELS, Corpus, build_corpus
from lstm_jax.corpora.encoder import Encoder, parse_encoder, read_encoder, write_encoder
from lstm_jax.corpora.saved_encoding import describe_encoding_change, describe_text_change, save_encoding
from lstm_jax.corpora.vocabulary import Vocabulary, parse_vocabulary, read_vocabulary, write_vocabulary
from lstm_jax.support.registry import check_name, lookup

__all__ = [
    "CORPORA",
    "LEVELS",
    "Corpus",
    "Encoder",
    "Vocabulary",
    "baselines",
    "build_corpus",
    "describe_encoding_change",
    "describe_text_change",
    "load",
    "parse_encoder",
    "parse_vocabulary",
    "read_encoder",
    "read_vocabulary",
    "save_encoding",
    "write_encoder",
    "write_vocabulary",
]

CORPORA: dict[str, Callable[[str, str], Corpus]] = {
    "pydoc": pydoc.load,
    "ptb": ptb.load,
    "text": text.load,
}
"""name -> load(data_dir, level)."""


def load(corpus: str, data_dir: str = "", level: str = "word") -> Corpus:
    """The corpus of that name.

    Args:
      corpus: a name of CORPORA.
      data_dir: where its files lie; "" means the environment variable LSTM_JAX_DATA.
      level: "word" or "char".

    Raises:
      UserError: an unknown name, or anything wrong with the files.
    """
    check_name(level, LEVELS, "level")
    return lookup(CORPORA, corpus, "corpus")(data_dir, level)
