"""Very long lags, noise, and an end that varies (Hochreiter & Schmidhuber 1997, 5.2, experiment 2c).

    python experiments/memory.py --config=configs/memory/long_lag_2c.py --config.task.length=50

Chance is ln 2 = 0.693 nats and 1/2 right; solved is 99 % right.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("long_lag_2c")
