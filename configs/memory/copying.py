"""Copying: 5 of 8 symbols, again after a fixed wait (Arjovsky, Shah & Bengio 2016).

    python experiments/memory.py --config=configs/memory/copying.py

Chance is items ln 8 / (length + 2 items) nats a step and 1/8 of the symbols right; solved is a tenth of these
nats and 99 %. The papers have task.items=10.
Expected: solved after 2,400 steps (76,800 sequences), 21 s of CPU time.

With task.length goes the forget bias: model.cell.forget_bias=chrono(N) for sequences of some N steps.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("copying")
    config.task.length = 10
    config.task.items = 5
    config.model.cell.forget_bias = "chrono(30)"
    config.optim.learning_rate = 0.005
    return config
