"""The word language model of pytorch/examples (commit bcea1f5): widths 200, 650, 1500, tied or not.

    python experiments/ptb_lm.py --config=configs/pytorch_examples.py:650,tied --config.task.data_dir=DIR

Published test perplexity on the Penn Treebank after 40 epochs: 200 tied 87.17; 650 untied 80.97, tied 75.96;
1500 untied 77.42, tied 72.30. SGD at rate 20 on the mean loss, clipped at 0.25; the rate is divided by 4
whenever an epoch brings no new best validation loss; element-wise dropout; PyTorch's default LSTM init.
Difference: one bias a gate where PyTorch has two, which doubles the effective rate of theirs; in dynamic
evaluation that is 0.005 to 0.015 of a perplexity of 27.8.
"""

from ml_collections import ConfigDict

from configs import base
from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import lookup

DROPOUT = {"200": 0.2, "650": 0.5, "1500": 0.65}


def get_config(variant: str = "200,tied") -> ConfigDict:
    width, _, tied = variant.partition(",")
    rate = lookup(DROPOUT, width, "width of configs/pytorch_examples.py")
    if tied not in ("", "tied"):
        raise UserError(f"unknown variant {variant!r} of pytorch_examples.py: allowed: WIDTH or WIDTH,tied")
    config = base.get_config()
    config.task.corpus = "ptb"
    config.task.batch = 20
    config.task.window = 35
    config.model.hidden = (int(width), int(width))
    config.model.embedding = int(width)
    config.model.tied = bool(tied)
    config.model.init = "uniform(0.1)"
    config.model.cell.init = "torch"
    config.model.cell.forget_bias = "0"
    config.model.dropout.input = rate
    config.model.dropout.between = rate
    config.model.dropout.output = rate
    config.optim.name = "sgd"
    config.optim.learning_rate = 20.0
    config.optim.clip = 0.25
    config.optim.schedule = "plateau"
    config.optim.decay_factor = 4.0
    config.train.epochs = 40
    return config
