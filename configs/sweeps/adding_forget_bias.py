"""The adding problem at growing lengths, by forget bias.

    python experiments/sweep.py --config=configs/sweeps/adding_forget_bias.py

Hochreiter & Schmidhuber 1997, in the form of Arjovsky, Shah & Bengio 2016; Tallec & Ollivier 2018 found
chrono equal or faster at T = 200 and much faster at 750. Expected: steps to solve grow with the length,
fastest for bias 0; chrono and 3 solve the longest. Chance is a squared error of 1/6, solved 0.01.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("adding")
    config.model.hidden = (32,)
    config.train.epochs = 15
    return config


def sweep() -> dict[str, Any]:
    return {
        "grid": {
            "model.cell.forget_bias": [0, 1, 2, 3, "uniform", "chrono({task.length})"],
            "task.length": [20, 50, 100],
        },
        "seeds": 5,
        "metric": "squared_error",
    }
