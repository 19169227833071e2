"""The initial forget bias on Penn Treebank, head and embedding tied or not, over a fixed small budget.

    python experiments/sweep.py --config=configs/sweeps/ptb_forget_bias.py --config.task.data_dir=DIR

Jozefowicz et al. 2015 (appendix, 20M parameters): a bias of 1 instead of 0 is worth about 1.5 perplexity. The
budget here is what two CPU cores can give 60 runs: 64 units, 1 epoch of Adam, no dropout; so this is a
comparison of how fast they learn. Expected: differences between biases of the size of a few perplexity.
The word "chrono" means chrono(35), of the window of back-propagation.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.task.corpus = "ptb"
    config.task.batch = 40
    config.task.window = 35
    config.model.hidden = (64,)
    config.model.embedding = 64
    config.optim.learning_rate = 4e-3
    config.train.epochs = 1
    config.train.tensorboard = False
    config.evaluate.sample = 0
    return config


def sweep() -> dict[str, Any]:
    return {
        "grid": {
            "model.tied": [False, True],
            "model.cell.forget_bias": [0, 1, 2, 3, "chrono", "uniform"],
        },
        "seeds": 5,
        "metric": "perplexity",
        "baseline": {"forget_bias": 1},
    }
