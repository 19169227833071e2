"""Scikit-learn's bundled digits: 1,797 images of 8 x 8 pixels with 17 shades, on every machine that has it.

The test images of the UCI set of handwritten digits (Alpaydin & Kaynak 1998), half a megabyte, no download.
"""

import numpy as np

from lstm_jax.corpora.image_set import Images
from lstm_jax.support.errors import UserError

__all__ = ["SIZES", "load"]

SIZES = {"test": 360, "valid": 180, "train": 1257}
"""Images of each split."""


def load(data_dir: str = "") -> Images:
    """The digits, split by one fixed shuffle: the same for every seed and every run. `data_dir` is not read.

    Raises:
      UserError: scikit-learn is not installed.
    """
    del data_dir
    try:
        # Imported here: a second that only this source should cost.
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError(
            f"the digits come with scikit-learn, which cannot be imported ({error}): "
            "pip install 'lstm_jax[tasks]', or use task.source=mnist"
        ) from error
    found = load_digits()
    order = np.random.Generator(np.random.Philox(0)).permutation(len(found.data))
    ends = np.cumsum(list(SIZES.values()))
    parts = dict(zip(SIZES, np.split(order, ends[:-1]), strict=True))
    return Images(
        {split: found.data[part].astype(np.uint8) for split, part in parts.items()},
        {split: found.target[part].astype(np.int32) for split, part in parts.items()},
        classes=10,
        brightest=16,
    )
