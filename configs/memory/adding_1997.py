"""Adding as in 1997: U(-1, 1), with an end that varies (Hochreiter & Schmidhuber 1997, 5.4).

    python experiments/memory.py --config=configs/memory/adding_1997.py

Chance is a squared error of 1/24 and 15 % within 0.04; solved is 99 % within 0.04.
Expected: solved after 400 steps (12,800 sequences; in 1997 some 74,000 at length 100), 23 s of CPU time.

With task.length goes the forget bias: model.cell.forget_bias=chrono(N) for sequences of some N steps.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("adding_1997")
    config.task.length = 30
    config.model.cell.forget_bias = "chrono(30)"
    config.optim.learning_rate = 0.005
    return config
