"""a^n b^n: count, and say when it is over (Gers & Schmidhuber 2001); then twice as far.

    python experiments/memory.py --config=configs/memory/a_n_b_n.py

Chance, by position alone, is 0.81 nats, 66 % right and 10 % counted (n = 10 alone, whose last steps no
other string has); solved is 99 % of the strings counted. At the end it counts up to n = 20, trained up to
10.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("a_n_b_n")
    config.evaluate.lengths = (20,)
    return config
