"""Temporal order: X or Y first, X or Y second (Hochreiter & Schmidhuber 1997, 5.6).

    python experiments/memory.py --config=configs/memory/temporal_order.py

Chance is ln 4 = 1.386 nats and 1/4 right (order 3: ln 8 and 1/8); solved is 99 % right.
Expected: solved after 200 steps (6,400 sequences; in 1997 some 31,000 at length 100), 20 s of CPU
time, most of it compiling.

With task.length goes the forget bias: model.cell.forget_bias=chrono(N) for sequences of some N steps.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("temporal_order")
    config.task.length = 50
    config.model.cell.forget_bias = "chrono(50)"
    config.optim.learning_rate = 0.005
    return config
