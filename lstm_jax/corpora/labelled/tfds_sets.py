"""Labelled texts through TFDS, without TensorFlow: film reviews (IMDB), news (AG). Needs a network once.

TFDS checks the SHA-256 of what it downloads and keeps the prepared texts in the project's cache.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lstm_jax.corpora.data_dir import cache_directory
from lstm_jax.corpora.labelled.texts import LabelledTexts, Row, checked, split_documents
from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import lookup

__all__ = ["SETS", "labelled_texts", "load"]


class _Set(NamedTuple):
    """url: of its download; text: (fields of an example, as strings) -> its text."""

    url: str
    text: Callable[[Mapping[str, str]], str]


SETS: dict[str, _Set] = {
    "imdb_reviews": _Set(  # Maas et al. 2011: 25,000 reviews to train, 25,000 to test, pos or neg
        "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
        lambda fields: fields["text"].replace("<br />", "\n"),
    ),
    "ag_news_subset": _Set(  # Zhang et al. 2015: 120,000 items to train, 7,600 to test, four topics
        "https://drive.google.com/uc?export=download&id=0Bz8a_Dbh9QhbUDNpeUdjb0wxRms",
        lambda fields: f"{fields['title']}\n{fields['description']}",
    ),
}


def load(name: str, held_out: float, split_seed: int) -> LabelledTexts:
    """The set of that name from the cache, which is filled by a download where it is not.

    Raises:
      UserError: no network, a cache that cannot be written or read.
    """
    # Imported here: TFDS takes half a second that only these sources should cost.
    import requests
    import tensorflow_datasets as tfds

    cache = cache_directory() / "tfds"
    found = lookup(SETS, name, "TFDS set")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        builder = tfds.builder(name, data_dir=cache, file_format="array_record")
        if not (Path(builder.data_dir) / "dataset_info.json").is_file():
            # TFDS itself would try for minutes where there is no network.
            requests.head(found.url, timeout=20, allow_redirects=True).raise_for_status()
            tfds.disable_progress_bar()
            builder.download_and_prepare()
    except OSError as error:  # requests' own errors are of this kind too
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{name} could not be downloaded into {cache} ({reason}): use a machine with a network, another "
            "cache by the environment variable LSTM_JAX_CACHE, or task.source=keywords, which needs neither"
        ) from error
    return labelled_texts(builder, name, found.text, held_out, split_seed)


def labelled_texts(
    builder: Any, name: str, text: Callable[[Mapping[str, str]], str], held_out: float, split_seed: int
) -> LabelledTexts:
    """The texts of a prepared builder; valid is held out of train, test is its own.

    Args:
      builder: of TFDS, prepared.
      name: of the data set, for messages.
      text: what is read of an example.
      held_out: share of train that is valid.
      split_seed: of that split.

    Raises:
      UserError: the data cannot be read.
    """
    try:
        labels = builder.info.features["label"].names
        rows = {
            split: [
                _row(example, labels, text, f"{name} {split}, {place}")
                for place, example in enumerate(source)
            ]
            for split, source in ((s, builder.as_data_source(split=s)) for s in ("train", "test"))
        }
    except Exception as error:  # whatever TFDS or array_record raise on damaged files, they do not say
        raise UserError(
            f"the prepared {name} in {builder.data_dir} cannot be read ({type(error).__name__}): delete that "
            "directory, it will be made again"
        ) from error
    parts = split_documents(rows["train"], held_out, split_seed)
    train = parts["train"] + parts["test"]
    facts = {"source": name, "tfds_version": str(builder.version)}
    return checked({"train": train, "valid": parts["valid"], "test": rows["test"]}, "punctuation", facts)


def _row(example: Mapping[str, Any], labels: list[str], text: Callable, place: str) -> Row:
    fields = {key: value.decode("utf-8") for key, value in example.items() if isinstance(value, bytes)}
    content = text(fields)
    return Row(content, labels[int(example["label"])], content, place)
