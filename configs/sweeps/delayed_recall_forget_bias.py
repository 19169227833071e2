"""Delayed recall at growing lags: where the forget bias alone decides what is learned.

    python experiments/sweep.py --config=configs/sweeps/delayed_recall_forget_bias.py

Gers, Schmidhuber & Cummins 2000 and Jozefowicz et al. 2015 start the forget gate open; Tallec & Ollivier 2018
start it at time scales up to T (chrono, here with T = the lag). A gate with bias b forgets by e in
-1/log sigmoid(b) steps: 1.4, 3.2, 7.9 and 20.6 for 0 to 3. Expected: all solve short lags; bias 0 fails
first, then 1, 2 and 3 in this order; chrono solves all; uniform, which spreads gates evenly between open and
shut (Gu et al. 2020), lies between. Chance is 1/8 right.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("delayed_recall")
    config.model.hidden = (32,)
    config.train.epochs = 10
    return config


def sweep() -> dict[str, Any]:
    return {
        "grid": {
            "model.cell.forget_bias": [0, 1, 2, 3, "uniform", "chrono({task.length})"],
            "task.length": [10, 20, 50, 100, 200],
        },
        "seeds": 5,
    }
