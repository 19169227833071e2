"""The symbols at odd places, then the others (Deletang et al. 2023, context-sensitive).

    python experiments/memory.py --config=configs/memory/odds_first.py

Chance is near ln 2 nats a bit and 1/2 right; solved is 99 % right.
Inputs have up to `task.length` symbols, short ones among them; the paper trains on 1 to 40 and tests on 41
to 500.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("odds_first")
    config.task.length = 20
    config.optim.learning_rate = 0.005
    return config
