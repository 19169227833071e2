"""Copying: 10 of 8 symbols, again after a fixed wait (Arjovsky, Shah & Bengio 2016).

    python experiments/memory.py --config=configs/memory/copying.py --config.task.length=50

Chance is 10 ln 8 / (length + 20) nats a step and 1/8 of the symbols right; solved is a tenth of these nats
and 99 %.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("copying")
