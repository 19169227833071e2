"""Delayed recall: slow context units and attention over past states, against the LSTM.

    python experiments/sweep.py --config=configs/sweeps/delayed_recall_cells.py

Mikolov et al. 2014 (SCRN, 40 context units that keep 0.95 a step, a time scale of 20 steps) and Daniluk 2017
(attention over the last states). All have about the 16,500 parameters of an LSTM of 48 units. Expected: the
context units help up to a few times their time scale and no further; attention solves every lag that its
memory covers (its slots are as many as the lag). Chance is 1/8 right.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("delayed_recall")
    config.train.epochs = 10
    return config


def sweep() -> dict[str, Any]:
    return {
        "list": {
            "LSTM": {"model.cell.name": "lstm", "model.hidden": (48,)},
            "SCRN": {"model.cell.name": "scrn", "model.hidden": (86,), "model.cell.options": "context=40"},
            "attention": {
                "model.cell.name": "attention_lstm",
                "model.hidden": (34,),
                "model.cell.options": "slots={task.length}",
            },
        },
        "grid": {"task.length": [20, 50, 100]},
        "seeds": 5,
    }
