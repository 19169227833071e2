"""The type of a set of images with classes."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

__all__ = ["Images"]


class Images(NamedTuple):
    """Images in three splits that share none.

    Attributes:
      pixels: split -> [N, P] uint8, row after row of each image.
      labels: split -> [N] int32 classes.
      classes: their number.
      brightest: the largest value that a pixel can have.
    """

    pixels: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]
    classes: int
    brightest: int
