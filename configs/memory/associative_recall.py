"""Associative recall: c9k8j3f1??c -> 9 (Ba et al. 2016).

    python experiments/memory.py --config=configs/memory/associative_recall.py --config.task.length=4

Chance is 1/10 right and ln 10 = 2.303 nats; solved is 99 % right. Ba 2016, 8 pairs: fast weights solve it
with 20 units, the LSTM with 50 nearly (1.85 % wrong), with 20 not (60.8 %).
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("associative_recall")
