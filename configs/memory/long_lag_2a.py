"""Noise-free long lags (Hochreiter & Schmidhuber 1997, 5.2, experiment 2a).

    python experiments/memory.py --config=configs/memory/long_lag_2a.py

Chance at the last step is 1/2 right; solved is every prediction right.
Expected: solved after 400 steps (12,800 sequences), 18 s of CPU time; with forget bias 1
and the learning rate 0.002 not within 5,000 steps.

With task.length goes the forget bias: model.cell.forget_bias=chrono(N) for sequences of some N steps.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("long_lag_2a")
    config.task.length = 20
    config.model.cell.forget_bias = "chrono(20)"
    config.optim.learning_rate = 0.005
    return config
