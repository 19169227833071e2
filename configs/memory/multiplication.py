"""Multiplying two marked numbers of U(0, 1) (Hochreiter & Schmidhuber 1997, 5.5).

    python experiments/memory.py --config=configs/memory/multiplication.py --config.task.length=50

Chance is a squared error of 7/144, 28 % within 0.04; solved is 93 % within 0.04.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("multiplication")
