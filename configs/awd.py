"""AWD-LSTM: Merity, Keskar and Socher 2017, "Regularizing and Optimizing LSTM Language Models".

    python experiments/ptb_lm.py --config=configs/awd.py --config.task.data_dir=DIR
    python experiments/ptb_lm.py --config=configs/awd.py:finetune --config.train.init_from=RUN_OF_THE_FIRST

Published perplexity on the Penn Treebank (valid / test), README of salesforce/awd-lstm-lm: 61.2 / 58.8 after
500 epochs, 58.8 / 56.5 finetuned, 53.2 / 52.5 with the neural cache. Every hyperparameter is that command's:
SGD at rate 30 on the mean loss, clipped at 0.25, weight decay 1.2e-6 added to the gradient after clipping;
averaging once validation has been non-monotone over 5 evaluations; window 70 (or 35, one time in 20) with
standard deviation 5, the rate scaled by its length; emb 400 tied, layers 1150, 1150, 400.
Differences: one bias per gate where PyTorch has two (24,210,800 parameters for 24,221,600, and half the
effective rate on the biases); evaluation scores every token with one carry; after the
switch to ASGD the authors scale the rate by the length of the window before, here by that of the window.
"""

from ml_collections import ConfigDict

from configs import base
from lstm_jax.support.registry import check_name


def get_config(variant: str = "train") -> ConfigDict:
    check_name(variant, ("train", "finetune"), "variant of configs/awd.py")
    config = base.get_config()
    config.task.corpus = "ptb"
    config.task.batch = 20
    config.task.window = 70
    config.task.window_jitter = 5.0
    config.task.window_half = 0.05
    config.model.hidden = (1150, 1150, 400)
    config.model.embedding = 400
    config.model.tied = True
    config.model.init = "uniform(0.1)"
    config.model.cell.init = "torch"
    config.model.cell.forget_bias = "0"
    config.model.dropout.embedding = 0.1
    config.model.dropout.input = 0.4
    config.model.dropout.between = 0.25
    config.model.dropout.output = 0.4
    config.model.dropout.locked = True
    config.model.dropout.weight = 0.5
    config.objective.l2 = 1.2e-6
    config.objective.penalty = "gradient"
    config.objective.ar = 2.0
    config.objective.tar = 1.0
    config.optim.name = "sgd"
    config.optim.learning_rate = 30.0
    config.optim.clip = 0.25
    config.optim.average = True
    config.optim.average_after = 5
    config.optim.scale_by_length = True
    config.train.epochs = 500
    config.evaluate.cache = True
    config.evaluate.cache_size = 500
    config.evaluate.cache_theta = 1.0
    config.evaluate.cache_lambda = 0.1
    if variant == "finetune":  # finetune.py: the best weights so far, averaged from the first step
        config.optim.average_after = -1
    return config
