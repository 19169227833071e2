"""Greff's eight ablations of the LSTM, of equal parameters, on three memory tasks and a language model.

    python experiments/sweep.py --config=configs/sweeps/greff.py:delayed_recall
    python experiments/sweep.py --config=configs/sweeps/greff.py:adding
    python experiments/sweep.py --config=configs/sweeps/greff.py:temporal_order
    python experiments/sweep.py --config=configs/sweeps/greff.py:language_model

Greff et al. 2017: no variant beats the vanilla LSTM significantly; without the forget gate (NFG) or the
output activation (NOAF) it is clearly worse; coupling input and forget gate (CIFG) and leaving out the
peepholes (NP) cost nothing. There the widths were equal; here the parameters are, each variant being as wide
as the vanilla LSTM's 32 units (64 for the language model) pay for. The language model reads characters of
Python's manuals.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base as text
from configs.memory import base as memory

TASKS = {"delayed_recall": 30, "adding": 50, "temporal_order": 50}
"""Task -> its length."""


def get_config(task: str = "delayed_recall") -> ConfigDict:
    if task == "language_model":
        config = text.get_config()
        config.task.update(level="char", batch=40, window=50)
        config.model.update(hidden=(64,), embedding=32)
        config.optim.learning_rate = 5e-3
        config.train.update(epochs=2, tensorboard=False)
        config.evaluate.sample = 0
    else:
        config = memory.get_config(task)
        config.task.length = TASKS[task]
        config.model.hidden = (32,)
        config.optim.learning_rate = 5e-3
        config.train.epochs = 15
    config.model.cell.name = "greff"
    return config


def sweep(task: str = "delayed_recall") -> dict[str, Any]:
    from lstm_jax.cells.greff import ABLATIONS

    config = get_config(task)
    inputs = 2 if task == "adding" else config.model.embedding
    return {
        "list": {
            name.upper() if name != "vanilla" else name: {
                "model.cell.options": f"variant={name}",
                "model.hidden": (equal_width(name, config.model.hidden[0], inputs),),
            }
            for name in ABLATIONS
        },
        "seeds": 3,
        "baseline": {"variant": "vanilla"},
    }


def equal_width(name: str, vanilla: int, inputs: int) -> int:
    """The width at which a variant's cell has the parameters nearest to those of `vanilla` units."""
    import jax
    import numpy as np

    from lstm_jax import cells

    def size(variant: str, hidden: int) -> int:
        cell = cells.make_cell("greff", hidden=hidden, variant=variant)
        shapes = jax.eval_shape(lambda key: cell.init(key, inputs), jax.random.key(0))
        return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))

    wanted = size("vanilla", vanilla)
    return min(range(vanilla // 2, 2 * vanilla), key=lambda hidden: abs(size(name, hidden) - wanted))
