"""Copying: forget bias 1 against chrono initialisation.

    python experiments/sweep.py --config=configs/sweeps/copy_chrono.py

Tallec & Ollivier 2018, figure 3: an LSTM of 128 units, RMSProp at 1e-3, B = 50, T = 500 and 2000, 10 symbols;
smaller here: 64 units, Adam at 5e-3, B = 32, T = 100, 5 symbols. Expected: with bias 1 the loss rests on the
floor of who remembers nothing, 5 ln 8 / (T + 10) nats a step (at T = 75 it leaves it after some 10,000 of
them); chrono solves the task, after 13,000 to 25,000: 7 minutes a run on one core.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("copying")
    config.task.items = 5
    config.optim.learning_rate = 5e-3
    config.train.epochs = 125
    return config


def sweep() -> dict[str, Any]:
    return {
        "grid": {
            "model.cell.forget_bias": ["chrono({task.length + 2 * task.items})", 1],
            "task.length": [100],
        },
        "seeds": 3,
        "metric": "nats",
        "baseline": {"forget_bias": 1},
    }
