"""Very long lags, noise, and an end that varies (Hochreiter & Schmidhuber 1997, 5.2, experiment 2c).

    python experiments/memory.py --config=configs/memory/long_lag_2c.py

Chance is ln 2 = 0.693 nats and 1/2 right; solved is 99 % right.
Expected: solved after 200 steps (6,400 sequences), 8 s of training.

With task.length goes the forget bias: model.cell.forget_bias=chrono(N) for sequences of some N steps.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("long_lag_2c")
    config.task.length = 20
    config.task.distractors = 20
    config.model.cell.forget_bias = "chrono(40)"
    config.optim.learning_rate = 0.005
    return config
