"""Penn Treebank, as Mikolov prepared it: the reference corpus of word-level language models.

Its text is licensed (LDC) and no part of this repository. It is read from a directory that the user
names, or downloaded; either way it goes through the TFDS builder `penn_treebank`, which checks the
SHA-256 of every file and keeps the prepared text in a cache.
"""

import contextlib
import fcntl
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lstm_jax.corpora.corpus import SPLITS, Corpus, build_corpus
from lstm_jax.corpora.data_dir import cache_directory, named_directory
from lstm_jax.corpora.penn_treebank.checksums import read_checksums
from lstm_jax.corpora.reading import find_files
from lstm_jax.support.errors import UserError

__all__ = ["TOKENS", "VOCABULARY", "load"]

TOKENS = {"train": 929_589, "valid": 73_760, "test": 82_430}
"""Words with one end of line each (Mikolov et al. 2010; the same in every paper since)."""
VOCABULARY = 10_000
"""With `<unk>` and `<eos>`; valid and test have no word that train lacks."""


def load(data_dir: str, level: str) -> Corpus:
    """Penn Treebank by words, or by characters.

    At character level the space at either end of a line is left out, which gives the usual 5,017,482 /
    393,042 / 442,423 characters; `<unk>` is spelt out.

    Raises:
      UserError: the directory or a file is missing, a file is not the reference text, there is neither a
        directory nor a network, or the cache cannot be written.
    """
    directory = named_directory(data_dir)
    files = None
    if directory is not None:
        files = find_files(directory, ("ptb.{}.txt", "{}.txt"), "ptb")
        _check(files)
    texts = _prepared_texts(files)
    if level == "char":
        texts = {
            split: "".join(line.strip() + "\n" for line in text.split("\n")[:-1])
            for split, text in texts.items()
        }
        return build_corpus("ptb", texts, splitter="characters", closed=True)
    corpus = build_corpus("ptb", texts, splitter="whitespace", closed=True)
    counts = {split: len(tokens) for split, tokens in corpus.tokens.items()}
    if counts != TOKENS or len(corpus.vocabulary) != VOCABULARY:
        # The checksums hold, so it is our reading that is wrong.
        raise AssertionError(f"Penn Treebank was misread: {counts}, {len(corpus.vocabulary)} words")
    return corpus


def _check(files: dict[str, Path]) -> None:
    """Raises UserError unless each file is the reference text, whatever the cache already holds."""
    known = {entry.filename: entry for entry in read_checksums()}
    for split, path in files.items():
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        entry = known[f"ptb.{split}.txt"]
        found = hashlib.sha256(content).hexdigest()
        if found != entry.sha256:
            raise UserError(
                f"{path} is not the Penn Treebank {split} split: its SHA-256 is {found[:12]}... with "
                f"{len(content):,} bytes, expected {entry.sha256[:12]}... with {entry.size:,}; use Mikolov's "
                "unchanged ptb files, or task.corpus=text for a text of your own"
            )


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Lets one process at a time prepare the cache; the others wait and then find it prepared."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / "penn_treebank.lock").open("w")
    except OSError as error:
        raise UserError(
            f"cannot write to the cache {str(cache)!r}: {error.strerror}; name another directory by the "
            "environment variable LSTM_JAX_CACHE"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prepared_texts(files: dict[str, Path] | None) -> dict[str, str]:
    """The three texts from the TFDS cache, which is filled first where it is not."""
    # Imported here: TFDS takes half a second that only this corpus should cost.
    from lstm_jax.corpora.penn_treebank.penn_treebank_dataset_builder import Builder

    cache = cache_directory()
    with _alone(cache):
        builder = Builder(data_dir=cache / "tfds", file_format="array_record")
        if not builder.prepared():
            with tempfile.TemporaryDirectory(dir=cache) as manual:
                # Under the registered names, whatever the user's are; data_dir itself stays untouched.
                for split, path in (files or {}).items():
                    (Path(manual) / f"ptb.{split}.txt").symlink_to(path.resolve())
                builder.prepare(manual)
    try:
        source = builder.as_data_source()
        texts = {split: source[split][0]["text"].decode("utf-8") for split in SPLITS}
    except Exception as error:  # whatever TFDS or array_record raise on damaged files, they do not say
        raise UserError(
            f"the prepared Penn Treebank in {builder.data_dir} cannot be read "
            f"({type(error).__name__}): delete that directory, it will be made again"
        ) from error
    return texts
