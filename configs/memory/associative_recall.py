"""Associative recall: c9k8j3f1??c -> 9 (Ba et al. 2016).

    python experiments/memory.py --config=configs/memory/associative_recall.py --config.task.length=4

Chance is 1/10 right and ln 10 = 2.303 nats; solved is 99 % right. Ba 2016, 8 pairs: fast weights solve it
with 20 units, the LSTM with 50 nearly (1.85 % wrong), with 20 not (60.8 %).
Expected: 0.46 right after 3,000 steps, 0.95 after 10,000 (1,280,000 sequences), in some 4 minutes. The rate
matters: at 2e-3 an LSTM of 64 units stays with a guess of a value (0.4) for 8,000 steps.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("associative_recall")
    config.task.batch = 128
    config.model.hidden = (128,)
    config.optim.learning_rate = 5e-3
    config.optim.schedule = "cosine"
    config.train.epochs = 50
    return config
