"""Settings that learn delayed recall over 30 steps soonest, within a budget of 6 epochs.

    python experiments/search.py --config=configs/searches/delayed_recall.py --trials=30

No paper's: a small search that takes minutes on two cores. Expected: learning rates of about 0.01 and a
forget bias of 2 or more solve it (an accuracy of 1 on valid); a small rate or no forget bias stays near
chance, and the pruner ends most of those runs early.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("delayed_recall")
    config.task.length = 30
    config.train.epochs = 6
    return config


def sweep() -> dict[str, Any]:
    return {
        "random": {
            "count": 30,
            "optim.learning_rate": {"distribution": "log_uniform", "low": 1e-4, "high": 0.1},
            "optim.clip": {"distribution": "log_uniform", "low": 0.1, "high": 10.0},
            "model.cell.forget_bias": {
                "distribution": "choice",
                "values": ["0", "1", "2", "3", "chrono"],
            },
            "model.hidden": {"distribution": "choice", "values": [(16,), (32,), (64,)]},
        },
        "metric": "nats",
    }
