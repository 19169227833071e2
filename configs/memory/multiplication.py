"""Multiplying two marked numbers of U(0, 1) (Hochreiter & Schmidhuber 1997, 5.5).

    python experiments/memory.py --config=configs/memory/multiplication.py

Chance is a squared error of 7/144 and 28 % within 0.04; solved is 93 % within 0.04.
Expected: solved after 600 steps (19,200 sequences), 17 s of CPU time.

With task.length goes the forget bias: model.cell.forget_bias=chrono(N) for sequences of some N steps.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("multiplication")
    config.task.length = 30
    config.model.cell.forget_bias = "chrono(30)"
    config.optim.learning_rate = 0.005
    return config
