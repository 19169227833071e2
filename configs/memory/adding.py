"""Adding: the sum of two marked numbers of U(0, 1) (Arjovsky, Shah & Bengio 2016).

    python experiments/memory.py --config=configs/memory/adding.py

Chance is a squared error of 1/6; solved is 0.01.
Expected: solved after 200 steps (6,400 sequences), 21 s of CPU time, most of it compiling.

With task.length goes the forget bias: model.cell.forget_bias=chrono(N) for sequences of some N steps.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("adding")
    config.task.length = 50
    config.model.cell.forget_bias = "chrono(50)"
    config.optim.learning_rate = 0.005
    return config
