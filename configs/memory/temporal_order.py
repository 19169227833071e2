"""Temporal order: which of X and Y came first and which second (Hochreiter & Schmidhuber 1997, 5.6).

    python experiments/memory.py --config=configs/memory/temporal_order.py --config.task.length=50

Chance is ln 4 = 1.386 nats and 1/4 right (order 3: ln 8 and 1/8); solved is 99 % right.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("temporal_order")
