"""Copying at growing lengths, by the initial forget bias and its distribution.

    python experiments/sweep.py --config=configs/sweeps/copying_forget_bias.py

The task of Arjovsky, Shah & Bengio 2016 with 5 symbols, where Tallec & Ollivier 2018 introduced chrono.
Expected: within these 5,000 steps the constant biases solve the shortest lengths at best, and chrono more.
Chance is 5 ln 8 / (T + 10) nats a step, solved a tenth of it and 99 % right.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("copying")
    config.task.items = 5
    config.optim.learning_rate = 5e-3
    config.train.epochs = 25
    return config


def sweep() -> dict[str, Any]:
    return {
        "grid": {
            "model.cell.forget_bias": [0, 1, 3, "uniform", "chrono({task.length + 2 * task.items})"],
            "task.length": [5, 15, 45],
        },
        "seeds": 3,
        "metric": "nats",
    }
