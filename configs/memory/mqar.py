"""Multi-query associative recall (Arora et al. 2023, Zoology), small.

    python experiments/memory.py --config=configs/memory/mqar.py --config.task.length=32 --config.task.pairs=4

Chance is 2 / vocab right and ln(vocab / 2) nats: 1/16 and 2.773; who guesses a value of the context has 1 /
pairs. Solved is 99 % right. Zoology: vocab 8192, (length, pairs) = (64, 4), (128, 8), (256, 16), (512, 64).
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("mqar")
