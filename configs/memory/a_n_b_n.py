"""a^n b^n: count, and say when it is over (Gers & Schmidhuber 2001); then twice as far.

    python experiments/memory.py --config=configs/memory/a_n_b_n.py

Chance, by position alone, is 0.50 nats, 77 % right and no string counted; solved is 99 % of the strings
counted. At the end the network that learned n up to 10 counts up to 20: half of these strings are longer than
any before.
Expected: solved after 400 steps (12,800 strings); of those up to 20 it then counts 54 %, hardly beyond 10.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("a_n_b_n")
    config.evaluate.lengths = (20,)
    return config
