"""Long lags without local regularities (Hochreiter & Schmidhuber 1997, 5.2, experiment 2b).

    python experiments/memory.py --config=configs/memory/long_lag_2b.py --config.task.length=50

Chance at the last step is 1/2 right; solved is 99 %.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("long_lag_2b")
