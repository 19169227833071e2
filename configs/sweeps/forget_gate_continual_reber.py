"""Continual embedded Reber: the LSTM of 1997 against the one with a forget gate.

    python experiments/sweep.py --config=configs/sweeps/forget_gate_continual_reber.py

Gers, Schmidhuber & Cummins 2000: strings follow each other without a mark and without a reset. Expected: the
cell of 1997 never learns to recall the last symbol but one, for its memory grows without end; with a forget
gate most seeds do. Chance of the recall is that of the better constant of T and P.
"""

from typing import Any

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("continual_reber")
    config.model.hidden = (16,)
    config.train.epochs = 25
    return config


def sweep() -> dict[str, Any]:
    return {
        "list": {
            "LSTM 1997 (no forget gate)": {"model.cell.name": "lstm_1997"},
            "LSTM, forget bias 0": {"model.cell.name": "lstm", "model.cell.forget_bias": 0},
            "LSTM, forget bias 1": {"model.cell.name": "lstm", "model.cell.forget_bias": 1},
        },
        "seeds": 5,
        "metric": "recall",
    }
