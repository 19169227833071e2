"""Small images with a class each, as flat rows of pixels. Each source is a function of (data_dir)."""

from collections.abc import Callable

from lstm_jax.corpora import digits, mnist
from lstm_jax.corpora.image_set import Images
from lstm_jax.support.registry import lookup

__all__ = ["SOURCES", "load_images"]


SOURCES: dict[str, Callable[[str], Images]] = {"digits": digits.load, "mnist": mnist.load}
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
