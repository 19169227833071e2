"""Associative recall: memories that bind, fast weights and plastic connections, against the LSTM.

    python experiments/sweep.py --config=configs/sweeps/associative_recall_cells.py

Ba et al. 2016, table 1 (fast weights solve what an LSTM of the same width cannot), Miconi et al. 2018 and
2019 (plasticity); fewer letters and digits than theirs, so that a CPU gets there. All have about the 8,900
parameters of an LSTM of 32 units. Expected, each at the best of the rates 2e-3, 5e-3 and 1e-2: fast weights
0.97 right, the plastic LSTM 0.85, the LSTM 0.79, the plastic network 0.54. Chance is 1/4 right.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("associative_recall")
    config.task.length = 4
    config.task.letters = 8
    config.task.digits = 4
    config.task.batch = 64
    config.train.epochs = 15
    return config


def sweep() -> dict[str, Any]:
    return {
        "list": {
            "LSTM": {"model.cell.name": "lstm", "model.hidden": (32,)},
            "fast weights": {"model.cell.name": "fast_weights", "model.hidden": (74,)},
            "plastic": {"model.cell.name": "plastic", "model.hidden": (56,)},
            "plastic LSTM": {"model.cell.name": "plastic_lstm", "model.hidden": (30,)},
        },
        "seeds": 5,
    }
