"""Adding: the sum of two marked numbers of U(0, 1) (Arjovsky, Shah & Bengio 2016).

    python experiments/memory.py --config=configs/memory/adding.py --config.task.length=50

Chance is a squared error of 1/6; solved is 0.01.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("adding")
