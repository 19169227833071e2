"""A tied 2x512 LSTM trained by Adam: a strong baseline in few epochs.

    python experiments/ptb_lm.py --config=configs/adam_tied.py --config.task.data_dir=DIR

Architecture, batch 128, window 32 and 30 epochs as in srush/cs287 (homework 2), whose figures on the Penn
Treebank are 78.80 valid and 76.05 test. Its dropout and rate are not recorded in our notes: here dropout is
locked over time and the rate follows a cosine, so the figure to expect is near theirs, not theirs.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.task.corpus = "ptb"
    config.task.batch = 128
    config.task.window = 32
    config.model.hidden = (512, 512)
    config.model.embedding = 512
    config.model.tied = True
    config.model.cell.forget_bias = "1"
    config.model.dropout.input = 0.5
    config.model.dropout.between = 0.4
    config.model.dropout.output = 0.5
    config.model.dropout.locked = True
    config.optim.name = "adam"
    config.optim.learning_rate = 3e-3
    config.optim.clip = 1.0
    config.optim.schedule = "cosine"
    config.optim.warmup = 1
    config.objective.l2 = 1e-6
    config.objective.penalty = "gradient"
    config.train.epochs = 30
    return config
