"""The main job on the embedded text: a small LSTM on the manuals that every Python brings along.

    python experiments/ptb_lm.py --config=configs/quickstart.py

Trains in under two minutes on two CPU cores; the run prints unigram and bigram perplexity beside its own.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.task.level = "char"
    config.task.batch = 20
    config.task.window = 50
    config.model.hidden = (200,)
    config.model.embedding = 64
    config.optim.learning_rate = 5e-3
    config.train.epochs = 5
    return config
