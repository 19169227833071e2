"""Any text: a directory with train.txt, valid.txt and test.txt."""

from pathlib import Path

from lstm_jax.corpora.corpus import Corpus, build_corpus
from lstm_jax.corpora.data_dir import named_directory
from lstm_jax.corpora.reading import find_files, read_text
from lstm_jax.corpora.vocabulary import UNK
from lstm_jax.support.errors import UserError

__all__ = ["load"]


def load(data_dir: str, level: str) -> Corpus:
    """Reads the three files; words are what whitespace separates, characters what the file holds.

    Training tokens that occur once become `<unk>`, so that its probability is learnt; a word-level
    text that already writes `<unk>` keeps all its tokens.

    Raises:
      UserError: no directory given, a file missing, empty or not UTF-8, or a token of valid or test
        that train lacks where there is no `<unk>`.
    """
    directory = named_directory(data_dir)
    if directory is None:
        raise UserError(
            "the corpus 'text' needs a directory with train.txt, valid.txt and test.txt: give task.data_dir "
            "or the environment variable LSTM_JAX_DATA"
        )
    files = find_files(Path(directory), ("{}.txt",), "text")
    texts = {split: read_text(path) for split, path in files.items()}
    if level == "char":
        return build_corpus("text", texts, splitter="characters", min_count=2)
    prepared = UNK in texts["train"].split()
    return build_corpus("text", texts, splitter="whitespace", min_count=1 if prepared else 2)
