"""Embedded Reber grammar: the last symbol but one is told by the second (Hochreiter & Schmidhuber 1997).

    python experiments/memory.py --config=configs/memory/embedded_reber.py

Longer lags: --config.task.length=60 --config.task.least=0.5 embeds 30 to 60 symbols. Chance, by position
alone, is 1.28 nats, 13 % recalled, no string; solved is 99 % of the strings legal
throughout and 99 % recalled. 1997: 148 of 150 LSTMs, after 8,000 to 9,000 strings.
Expected: solved after 200 steps (6,400 strings).
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("embedded_reber")
