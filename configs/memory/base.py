"""What the memory tasks share: one small recurrent layer, Adam, and a run that ends when the task is solved.

    python experiments/memory.py --config=configs/memory/base.py:parity

The variant is a name of lstm_jax.tasks.GENERATORS; the other files here are recipes for one task each.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(task: str = "delayed_recall") -> ConfigDict:
    config = base.get_config(task)
    config.model.hidden = (64,)
    config.model.embedding = 32
    config.model.init = "uniform(0.3)"
    config.optim.learning_rate = 2e-3
    config.optim.clip = 1.0
    config.train.epochs = 25
    config.train.steps_per_call = 200
    config.train.stop_when_solved = True
    config.train.tensorboard = False
    return config
