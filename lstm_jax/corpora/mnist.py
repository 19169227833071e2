"""MNIST through TFDS: 50,000 images of 28 x 28 pixels to train, 10,000 to validate, 10,000 to test.

Downloaded where there is a network, or read from the four idx files of its authors in a directory that the
user names; either way TFDS keeps the prepared images in the project's cache.
"""

import tempfile
from pathlib import Path

import numpy as np

from lstm_jax.corpora.data_dir import cache_directory, named_directory
from lstm_jax.corpora.image_set import Images
from lstm_jax.support.errors import UserError

__all__ = ["VALID", "load"]

VALID = 10_000
"""Images of TFDS's split "train" that validate: the last ones, as is customary."""


def load(data_dir: str = "") -> Images:
    """MNIST from the cache, which is filled first where it is not.

    Raises:
      UserError: neither a network nor the files, files that are not MNIST's, or a cache that cannot be
        written or read.
    """
    # Imported here: TFDS takes half a second that only this source should cost.
    from lstm_jax.corpora.mnist_builder import FILES, Builder

    directory = named_directory(data_dir)
    files = {name: directory / name for name in FILES if directory and (directory / name).is_file()}
    cache = cache_directory()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        builder = Builder(data_dir=cache / "tfds", file_format="array_record")
        if not builder.prepared():
            with tempfile.TemporaryDirectory(dir=cache) as manual:
                for name, path in files.items():
                    (Path(manual) / name).symlink_to(path.resolve())
                builder.prepare(manual)
    except OSError as error:
        raise UserError(
            f"cannot write to the cache {str(cache)!r}: {error.strerror}; name another directory by the "
            "environment variable LSTM_JAX_CACHE"
        ) from error
    try:
        source = builder.as_data_source()
        found = {
            split: (
                np.frombuffer(source[split][0]["pixels"], np.uint8).reshape(-1, 784),
                np.frombuffer(source[split][0]["labels"], np.uint8).astype(np.int32),
            )
            for split in ("train", "test")
        }
    except Exception as error:  # whatever TFDS or array_record raise on damaged files, they do not say
        raise UserError(
            f"the prepared MNIST in {builder.data_dir} cannot be read ({type(error).__name__}): delete that "
            "directory, it will be made again"
        ) from error
    pixels, labels = found["train"]
    return Images(
        {"train": pixels[:-VALID], "valid": pixels[-VALID:], "test": found["test"][0]},
        {"train": labels[:-VALID], "valid": labels[-VALID:], "test": found["test"][1]},
        classes=10,
        brightest=255,
    )
