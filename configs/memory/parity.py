"""Parity of up to `task.length` fair bits, short ones among them (Deletang et al. 2023).

    python experiments/memory.py --config=configs/memory/parity.py

Chance is ln 2 = 0.693 nats and 1/2 right; solved is all right.
Expected: solved after 400 steps (12,800 sequences), 15 s of CPU time.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("parity")
    config.task.length = 20
    config.optim.learning_rate = 0.005
    return config
