"""Associative recall: memories that bind, fast weights and plastic connections, against the LSTM.

    python experiments/sweep.py --config=configs/sweeps/associative_recall_cells.py

Ba et al. 2016, table 1 (fast weights solve what an LSTM of the same width cannot), Miconi et al. 2018 and
2019 (plasticity). All have about the 17,200 parameters of an LSTM of 48 units. Expected: fast weights need
the fewest steps and hold the most pairs. Chance is 1/10 right.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("associative_recall")
    config.train.epochs = 25
    return config


def sweep() -> dict[str, Any]:
    return {
        "list": {
            "LSTM": {"model.cell.name": "lstm", "model.hidden": (48,)},
            "fast weights": {"model.cell.name": "fast_weights", "model.hidden": (106,)},
            "plastic": {"model.cell.name": "plastic", "model.hidden": (79,)},
            "plastic LSTM": {"model.cell.name": "plastic_lstm", "model.hidden": (44,)},
        },
        "grid": {"task.length": [2, 4, 8]},
        "length_label": "pairs to remember",
        "seeds": 5,
    }
