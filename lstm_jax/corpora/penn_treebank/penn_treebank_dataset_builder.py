"""The TFDS builder of Penn Treebank. Needs no TensorFlow: array_record files, read by `as_data_source`."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

from lstm_jax.corpora.penn_treebank.checksums import read_checksums
from lstm_jax.support.errors import UserError

__all__ = ["Builder"]


class Builder(tfds.core.GeneratorBasedBuilder):
    """Penn Treebank: one example a split that holds the whole text.

    One example, because TFDS shuffles the examples of a split by a hash of their keys, and because
    reading 42,068 lines one by one takes seconds where one text takes milliseconds.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Mikolov's preparation: 10,000 words, numbers as N, no punctuation."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Put ptb.train.txt, ptb.valid.txt and ptb.test.txt into the manual_dir."

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Wall Street Journal text of the Penn Treebank, prepared by Mikolov et al. (2010).",
            features=tfds.features.FeaturesDict({"text": tfds.features.Text()}),
            homepage="https://catalog.ldc.upenn.edu/LDC99T42",
            citation="Marcus, Santorini, Marcinkiewicz: Building a large annotated corpus of English, 1993",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        # A file of the registered name in manual_dir is taken instead of the download, and is checked alike.
        urls = {entry.filename.split(".")[1]: entry.url for entry in read_checksums()}
        paths = dl_manager.download(urls)
        return {split: self._generate_examples(path) for split, path in paths.items()}

    def _generate_examples(self, path: Path) -> Iterator[tuple[int, dict[str, str]]]:
        yield 0, {"text": Path(path).read_text(encoding="utf-8")}

    def prepared(self) -> bool:
        """True where the cache holds the data (TFDS's own `is_prepared` logs a warning where not)."""
        return (Path(self.data_dir) / "dataset_info.json").is_file()

    def prepare(self, manual_dir: str | Path) -> None:
        """Fills the cache from `manual_dir`, or by download for what that lacks.

        Raises:
          UserError: the download failed, or gave something else.
        """
        for entry in read_checksums():
            if not (Path(manual_dir) / entry.filename).exists():
                _check_reachable(entry.url)
        config = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
        tfds.disable_progress_bar()  # a run shows one of ours
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # two lines about sizes it does not know
                self.download_and_prepare(download_config=config)
        except (requests.RequestException, tfds.download.DownloadError, NonMatchingChecksumError) as error:
            raise _failed(error) from error


def _check_reachable(url: str) -> None:
    """Raises UserError at once where there is no network; TFDS would retry for minutes."""
    try:
        requests.head(url, timeout=20, allow_redirects=True).raise_for_status()
    except requests.RequestException as error:
        raise _failed(error) from error


def _failed(error: Exception) -> UserError:
    reason = " ".join(str(error).split())
    if len(reason) > 120:
        reason = reason[:120] + "..."
    return UserError(
        f"Penn Treebank could not be downloaded ({reason}): give task.data_dir, or the environment variable "
        "LSTM_JAX_DATA, a directory with ptb.train.txt, ptb.valid.txt and ptb.test.txt"
    )
