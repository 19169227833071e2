"""Copying: forget bias 1 against chrono initialisation.

    python experiments/sweep.py --config=configs/sweeps/copy_chrono.py

Tallec & Ollivier 2018, figure 3: an LSTM of 128 units, RMSProp at 1e-3, B = 50, T = 500 and 2000; smaller
here. Expected: with bias 1 the loss rests on the floor of who remembers nothing, 10 ln 8 / (T + 20) nats a
step, at lengths at which chrono leaves it.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("copying")
    config.task.batch = 50
    config.model.hidden = (64,)
    config.optim.name = "rmsprop"
    config.optim.beta2 = 0.9
    config.optim.learning_rate = 1e-3
    config.train.epochs = 25
    return config


def sweep() -> dict[str, Any]:
    return {
        "grid": {
            "model.cell.forget_bias": [1, "chrono({task.length + 2 * task.items})"],
            "task.length": [50, 100, 200],
        },
        "seeds": 5,
        "metric": "nats",
    }
