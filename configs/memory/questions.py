"""Questions about a small world, in the manner of bAbI (Weston et al. 2015).

    python experiments/memory.py --config=configs/memory/questions.py --config.task.kind=one

Chance is 1/6 right and ln 6 = 1.792 nats (one, two, three), 1/2 (yes_no), 0.67 (counting, 6 sentences);
solved is 95 % right. The bAbI tasks of 10,000 questions leave an LSTM 36 % wrong on average.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("questions")
