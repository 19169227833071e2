"""Long lags without local regularities (Hochreiter & Schmidhuber 1997, 5.2, experiment 2b).

    python experiments/memory.py --config=configs/memory/long_lag_2b.py

Chance at the last step is 1/2 right; solved is 99 %.
Expected: solved after 200 steps (6,400 sequences), 3 s of training.

With task.length goes the forget bias: model.cell.forget_bias=chrono(N) for sequences of some N steps.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("long_lag_2b")
    config.task.length = 20
    config.model.cell.forget_bias = "chrono(20)"
    config.optim.learning_rate = 0.005
    return config
