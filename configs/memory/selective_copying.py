"""Copying symbols that stand among blanks (Gu et al. 2020).

    python experiments/memory.py --config=configs/memory/selective_copying.py

Chance is ln 8 = 2.079 nats and 1/8 right; solved is 99 % right.
Expected: solved after 1,200 steps (38,400 sequences), 11 s of training.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("selective_copying")
    config.task.length = 20
    config.task.items = 5
    config.optim.learning_rate = 0.005
    return config
