"""Sorting symbols of five kinds (Deletang et al. 2023, context-sensitive).

    python experiments/memory.py --config=configs/memory/bucket_sort.py

Chance, by position alone, is under ln 5 nats; solved is 99 % right.
Inputs have up to `task.length` symbols, short ones among them; the paper trains on 1 to 40 and tests on 41
to 500.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("bucket_sort")
    config.task.length = 20
    config.optim.learning_rate = 0.005
    return config
