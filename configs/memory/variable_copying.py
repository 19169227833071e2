"""Copying after a wait that varies: only the delimiter says when (after Tallec & Ollivier 2018).

    python experiments/memory.py --config=configs/memory/variable_copying.py --config.task.length=50

Chance is ln 8 = 2.079 nats and 1/8 right; solved is 99 % right.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("variable_copying")
