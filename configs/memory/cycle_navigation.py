"""Cycle navigation: where does a walk on a circle of 5 end? (Deletang et al. 2023, regular).

    python experiments/memory.py --config=configs/memory/cycle_navigation.py

Chance is near ln 5 = 1.609 nats and 1/5 right; solved is 99 % right.
Inputs have up to `task.length` symbols, short ones among them; the paper trains on 1 to 40 and tests on 41
to 500.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("cycle_navigation")
    config.task.length = 20
    config.optim.learning_rate = 0.005
    return config
