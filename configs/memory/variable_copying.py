"""Copying after a wait that varies: only the delimiter says when (after Tallec & Ollivier 2018).

    python experiments/memory.py --config=configs/memory/variable_copying.py

Chance is ln 8 = 2.079 nats and 1/8 right; solved is 99 % right.
Expected: solved after 1,000 steps (32,000 sequences), 19 s of CPU time.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("variable_copying")
    config.task.length = 10
    config.task.items = 5
    config.optim.learning_rate = 0.005
    return config
