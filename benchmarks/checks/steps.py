"""Whole training steps beside torch and flax, from the contestants of `train_step.py`."""

from collections.abc import Iterator

from shapes import SHAPES
from train_step import OURS, measure

from checks import Row, Settings

__all__ = ["steps", "steps_bf16"]


def rows(settings: Settings, precision: str) -> Iterator[Row]:
    names = [OURS, f"{OURS}-scan", "torch", "flax-loop"]
    for shape in ["small"] if settings.miniature else SHAPES:
        steps, rounds = (1, 1) if settings.miniature else (SHAPES[shape].steps[1], 3)
        for name, found in measure(shape, names, precision, steps, rounds).items():
            yield {"shape": shape, "precision": precision, "who": name} | found


def steps(settings: Settings) -> Iterator[Row]:
    """Yields a row for each shape and contestant, float32 with tf32 products."""
    yield from rows(settings, "tf32")


def steps_bf16(settings: Settings) -> Iterator[Row]:
    """The same in bfloat16: ours and flax with float32 parameters, torch with bfloat16 ones."""
    yield from rows(settings, "bfloat16")
