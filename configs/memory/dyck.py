"""Dyck-(2, 3): which bracket closes here? (Suzgun et al. 2019; Hewitt et al. 2020).

    python experiments/memory.py --config=configs/memory/dyck.py --config.task.length=40 --config.task.depth=5

Chance, by position alone, is 1.3 nats and no closing bracket sure; solved is the right kind for 99 % of
them, with more than 0.8 of the probability.
Expected: solved after 400 steps (12,800 strings), 5 s of training.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    return base.get_config("dyck")
