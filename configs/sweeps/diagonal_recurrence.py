"""What a diagonal recurrence costs in memory: para_lstm, para_gru and minLSTM against the dense LSTM.

    python experiments/sweep.py --config=configs/sweeps/diagonal_recurrence.py:parity --workdir=DIR

Variants: the tasks of TASKS, and language_model (characters of Python's manuals). One layer each, of the
width that the parameters of the LSTM's 32 units pay for, and one learning rate for all. In para_lstm and
para_gru (Danieli et al. 2026) a unit's gates see its own state only, in minLSTM (Feng et al. 2024) none.
Expected: a minLSTM fails parity, which needs a gate that sees the state. The products of S3 do not commute,
and no unit alone can hold one.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base as text
from configs.memory import base as memory
from configs.sweeps.greff import equal_widths

TASKS: dict[str, dict[str, Any]] = {
    "delayed_recall": {"length": 50},
    "adding": {"length": 50},
    "parity": {"length": 20},
    "state_tracking": {"length": 10, "group": "S3"},
    "associative_recall": {"length": 2, "letters": 6, "digits": 4},
}
"""Task -> its fields."""
CELLS = ("lstm", "para_lstm", "para_gru", "min_lstm")


def get_config(task: str = "delayed_recall") -> ConfigDict:
    if task == "language_model":
        config = text.get_config()
        config.task.update(level="char", batch=20, window=50)
        config.model.embedding = 32
        config.train.update(epochs=2, tensorboard=False)
        config.evaluate.sample = 0
    else:
        config = memory.get_config(task)
        config.task.update(TASKS[task])
        config.train.update(epochs=6, steps_per_call=100)
    config.model.hidden = (32,)
    config.optim.learning_rate = 5e-3
    return config


def sweep(task: str = "delayed_recall") -> dict[str, Any]:
    widths = equal_widths(get_config(task), {name: {"name": name} for name in CELLS})
    return {
        "list": {name: {"model.cell.name": name, "model.hidden": (width,)} for name, width in widths.items()},
        "seeds": 3,
        "baseline": "lstm",
    }
