"""Copying symbols that stand among blanks (Gu et al. 2020).

    python experiments/memory.py --config=configs/memory/selective_copying.py --config.task.length=50

Chance is ln 8 = 2.079 nats and 1/8 right; solved is 99 % right.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("selective_copying")
