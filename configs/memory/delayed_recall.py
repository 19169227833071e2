"""Delayed recall: one of 8 symbols, held over `task.length` steps of noise, then asked for.

    python experiments/memory.py --config=configs/memory/delayed_recall.py --config.task.length=100

Chance is 1/8 right and ln 8 = 2.079 nats; solved is 99 % right.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("delayed_recall")
