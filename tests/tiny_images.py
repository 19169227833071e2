"""Images that need no package and no file."""

import numpy as np

from lstm_jax.corpora.image_set import Images


def tiny_images() -> Images:
    """Noise of 3 by 3 pixels in four classes; no two images are alike."""
    rng = np.random.default_rng(0)
    sizes = {"train": 24, "valid": 9, "test": 11}
    return Images(
        {split: rng.integers(0, 17, (count, 9), np.uint8) for split, count in sizes.items()},
        {split: rng.integers(0, 4, count, np.int32) for split, count in sizes.items()},
        classes=4,
        brightest=16,
    )
