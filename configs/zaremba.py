"""Zaremba, Sutskever and Vinyals 2014, "Recurrent Neural Network Regularization": small, medium, large.

    python experiments/ptb_lm.py --config=configs/zaremba.py:small --config.task.data_dir=DIR

Published perplexity on the Penn Treebank (valid / test; table 1 of the paper and the TensorFlow tutorial
that reproduces it): small 120.7 / 114.5, medium 86.2 / 82.7, large 82.2 / 78.4. Every parameter is drawn
from U(-a, a), biases too; SGD at rate 1.0 on the sum over the window of the batch mean; the rate is divided
by a factor every epoch after the first few; nothing is tied; dropout is element-wise on all but the
recurrent connections. The medium factor is the tutorial's 1/0.8 (the paper says 1.2).
"""

from ml_collections import ConfigDict

from configs import base
from lstm_jax.support.registry import lookup

VARIANTS = {
    "small": dict(hidden=200, window=20, a=0.1, dropout=0.0, clip=5.0, after=4, factor=2.0, epochs=13),
    "medium": dict(hidden=650, window=35, a=0.05, dropout=0.5, clip=5.0, after=6, factor=1.25, epochs=39),
    "large": dict(hidden=1500, window=35, a=0.04, dropout=0.65, clip=10.0, after=14, factor=1.15, epochs=55),
}


def get_config(variant: str = "small") -> ConfigDict:
    v = lookup(VARIANTS, variant, "variant of configs/zaremba.py")
    config = base.get_config()
    config.task.corpus = "ptb"
    config.task.batch = 20
    config.task.window = v["window"]
    config.model.hidden = (v["hidden"], v["hidden"])
    config.model.embedding = v["hidden"]
    config.model.init = f"uniform({v['a']})"
    config.model.cell.init = f"uniform({v['a']})"
    config.model.cell.forget_bias = "0"
    config.model.dropout.input = v["dropout"]
    config.model.dropout.between = v["dropout"]
    config.model.dropout.output = v["dropout"]
    config.objective.over_time = "sum"
    config.optim.name = "sgd"
    config.optim.learning_rate = 1.0
    config.optim.clip = v["clip"]
    config.optim.schedule = "decay"
    config.optim.decay_after = v["after"]
    config.optim.decay_factor = v["factor"]
    config.train.epochs = v["epochs"]
    return config
