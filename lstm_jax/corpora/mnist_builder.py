"""The TFDS builder of MNIST as flat arrays. Needs no TensorFlow, which TFDS's own builder reads files with.

Addresses and checksums are those of TFDS's own.
"""

import contextlib
import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.image_classification.mnist import MNIST

from lstm_jax.support.errors import UserError

__all__ = ["FILES", "Builder"]

FILES = {Path(url).name: url for url in sorted(MNIST.url_infos)}
"""The four files of MNIST's authors, compressed: name -> address."""


class Builder(tfds.core.GeneratorBasedBuilder):
    """MNIST: one example a split that holds all of its images, for they are read all at once."""

    name = "mnist_arrays"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The 70,000 images, one byte a pixel."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"Put {', '.join(FILES)} into the manual_dir."
    url_infos = MNIST.url_infos

    def _info(self) -> tfds.core.DatasetInfo:
        binary = tfds.features.Tensor(shape=(), dtype=np.object_)
        return tfds.core.DatasetInfo(
            builder=self,
            description="The MNIST database of handwritten digits, 28 x 28 pixels.",
            features=tfds.features.FeaturesDict({"pixels": binary, "labels": binary}),
            homepage="http://yann.lecun.com/exdb/mnist/",
            citation="LeCun, Cortes, Burges: The MNIST database of handwritten digits, 1998",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        # A file of the registered name in manual_dir is taken instead of the download, and is checked alike.
        paths = dl_manager.download(FILES)
        return {
            split: self._generate_examples(
                paths[f"{stem}-images-idx3-ubyte.gz"], paths[f"{stem}-labels-idx1-ubyte.gz"]
            )
            for split, stem in (("train", "train"), ("test", "t10k"))
        }

    def _generate_examples(self, images: Path, labels: Path) -> Iterator[tuple[int, dict[str, bytes]]]:
        # An idx file is a header of 4 bytes and 4 more for each axis, then one byte a number.
        pixels, classes = (gzip.decompress(Path(path).read_bytes()) for path in (images, labels))
        yield 0, {"pixels": pixels[16:], "labels": classes[8:]}

    def prepared(self) -> bool:
        """True where the cache holds the data (TFDS's own `is_prepared` logs a warning where not)."""
        return (Path(self.data_dir) / "dataset_info.json").is_file()

    def prepare(self, manual_dir: str | Path) -> None:
        """Fills the cache from `manual_dir`, or by download for what that lacks.

        Raises:
          UserError: the download failed, or gave something else.
        """
        config = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
        tfds.disable_progress_bar()  # a run shows one of ours
        try:
            for name, url in FILES.items():  # at once where there is no network: TFDS retries for minutes
                if not (Path(manual_dir) / name).exists():
                    requests.head(url, timeout=20, allow_redirects=True).raise_for_status()
            with contextlib.redirect_stdout(io.StringIO()):  # two lines about sizes it does not know
                self.download_and_prepare(download_config=config)
        except (requests.RequestException, tfds.download.DownloadError, NonMatchingChecksumError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"MNIST could not be downloaded ({reason[:120]}{'...' * (len(reason) > 120)}): give "
                f"task.data_dir a directory with its authors' {', '.join(FILES)}, or use task.source=digits"
            ) from error
