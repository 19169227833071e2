"""Small images with a class each, as flat rows of pixels. Each source is a function of (data_dir)."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from lstm_jax.support.registry import lookup

__all__ = ["SOURCES", "Images", "load_images"]


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


def _digits(data_dir: str) -> Images:
    from lstm_jax.corpora import digits

    return digits.load(data_dir)


def _mnist(data_dir: str) -> Images:
    from lstm_jax.corpora import mnist

    return mnist.load(data_dir)


SOURCES: dict[str, Callable[[str], Images]] = {"digits": _digits, "mnist": _mnist}
"""name -> load(data_dir)."""


def load_images(source: str, data_dir: str = "") -> Images:
    """The images of that name.

    Args:
      source: a name of SOURCES.
      data_dir: where its files lie; "" means the environment variable LSTM_JAX_DATA, or none are needed.

    Raises:
      UserError: an unknown name, or what the source raises.
    """
    return lookup(SOURCES, source, "source of images")(data_dir)
