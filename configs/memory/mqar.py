"""Multi-query associative recall (Arora et al. 2023, Zoology), small.

    python experiments/memory.py --config=configs/memory/mqar.py --config.task.length=32 --config.task.pairs=4

Chance is 2 / vocab right and ln(vocab / 2) nats: 1/16 and 2.773; who guesses a value of the context has 1 /
pairs. Solved is 99 % right. Zoology: vocab 8192, (length, pairs) = (64, 4), (128, 8), (256, 16), (512, 64).
Expected: 0.71 right after 1,800 steps, 0.96 after 5,600, 0.98 after 8,000: not quite solved, in some 5
minutes. The rate matters: at 2e-3 an LSTM of 64 units stays with the guess of a value (0.29) for 5,000 steps.
"""

from ml_collections import ConfigDict

from configs.memory import base


def get_config() -> ConfigDict:
    config = base.get_config("mqar")
    config.task.batch = 64
    config.model.hidden = (128,)
    config.optim.learning_rate = 5e-3
    config.train.epochs = 40
    return config
