"""Parity of up to `task.length` fair bits, short ones among them (Deletang et al. 2023).

    python experiments/memory.py --config=configs/memory/parity.py --config.task.length=50

Chance is ln 2 = 0.693 nats and 1/2 right; solved is all right.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("parity")
