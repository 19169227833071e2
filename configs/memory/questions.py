"""Questions about a small world, in the manner of bAbI (Weston et al. 2015).

    python experiments/memory.py --config=configs/memory/questions.py --config.task.kind=two
    python experiments/memory.py --config=configs/memory/questions.py:lstm

A dynamic memory network (Kumar et al. 2016), or an LSTM of as many parameters. Chance is 1/6 right and ln 6
= 1.792 nats (one, two, three), 1/2 (yes_no), 0.67 (counting, 6 sentences); solved is 95 % right. The bAbI
tasks of 10,000 questions leave an LSTM 36 % wrong on average, an end-to-end memory network 4 %.
"""

from ml_collections import ConfigDict

from configs.memory import base
from lstm_jax.support.registry import check_name


def get_config(variant: str = "dynamic_memory") -> ConfigDict:
    check_name(variant, ("dynamic_memory", "lstm"), "variant of questions")
    config = base.get_config("questions")
    config.task.batch = 64
    config.optim.learning_rate = 3e-3
    if variant == "dynamic_memory":
        config.model.name = "dynamic_memory"
    else:
        config.model.hidden = (160,)
    return config
