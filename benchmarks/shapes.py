"""The models that are timed: Zaremba's three, and the AWD-LSTM's layers without its dropouts."""

from typing import NamedTuple

__all__ = ["MATMUL_PRECISION", "RATE", "SHAPES", "VOCAB", "WINDOWS", "Shape"]

VOCAB = 10_000  # V, that of the Penn Treebank
WINDOWS = 32  # different windows of random tokens, read over and over
MATMUL_PRECISION = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "tensorfloat32"}
"""What each precision asks of JAX's float32 products."""
RATE = 1.0  # learning rate of the loss summed over T, with the gradient clipped to norm 5


class Shape(NamedTuple):
    """One model and its batch.

    Attributes:
      embedding: E.
      hidden: H of each layer.
      tied: whether the head's weight is the embedding.
      batch: B.
      window: T.
      steps: training steps of one round (a compiled call of ours) on a CPU, on a GPU.
    """

    embedding: int
    hidden: tuple[int, ...]
    tied: bool
    batch: int
    window: int
    steps: tuple[int, int]


SHAPES = {
    "small": Shape(200, (200, 200), False, 20, 20, (48, 500)),
    "medium": Shape(650, (650, 650), False, 20, 35, (12, 200)),
    "large": Shape(1500, (1500, 1500), False, 20, 35, (4, 100)),
    "awd": Shape(400, (1150, 1150, 400), True, 80, 70, (2, 40)),
}
