"""State tracking: the product of permutations so far, after every step (Merrill et al. 2024).

    python experiments/memory.py --config=configs/memory/state_tracking.py --config.task.group=A5

Chance is 1 / order right and ln(order) nats: 1/60 and 4.094 for A5; solved is 99 % right.
Groups: S3, S5, A5, Z60.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("state_tracking")
    config.task.group = "S3"
    config.task.length = 10
    config.optim.learning_rate = 0.005
    return config
