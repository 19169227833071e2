"""Continual embedded Reber: string after string without marks or resets (Gers, Schmidhuber & Cummins 2000).

    python experiments/memory.py --config=configs/memory/continual_reber.py

Chance is 1.90 nats, 21 % right, half of the long-range symbols recalled; solved is 99 % of these. Gers
2000: the LSTM without forget gate (1997) fails, the forget gate solves it.
Expected: solved after 600 to 800 steps with 16 units (configs/sweeps/forget_gate_continual_reber.py).
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("continual_reber")
