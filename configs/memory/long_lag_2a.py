"""Noise-free long lags (Hochreiter & Schmidhuber 1997, 5.2, experiment 2a).

    python experiments/memory.py --config=configs/memory/long_lag_2a.py --config.task.length=50

Chance at the last step is 1/2 right; solved is every prediction right.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("long_lag_2a")
