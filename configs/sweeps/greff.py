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

TASKS = {"delayed_recall": 50, "adding": 50, "temporal_order": 50}
"""Task -> its length."""


def get_config(task: str = "delayed_recall") -> ConfigDict:
    if task == "language_model":
        config = text.get_config()
        config.task.update(level="char", batch=20, window=50)
        config.model.update(hidden=(64,), embedding=32)
        config.optim.learning_rate = 5e-3
        config.train.update(epochs=6, tensorboard=False)
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

    cells = {name: {"options": f"variant={name}"} for name in ABLATIONS}
    widths = equal_widths(get_config(task), cells)
    return {
        "list": {
            name.upper() if name != "vanilla" else name: {
                "model.cell.options": f"variant={name}",
                "model.hidden": (width,),
            }
            for name, width in widths.items()
        },
        "seeds": 3,
        "baseline": {"variant": "vanilla"},
    }


def equal_widths(config: ConfigDict, cells: dict[str, dict[str, Any]]) -> dict[str, int]:
    """For each cell the width at which the model has the parameters nearest to those of the first one.

    Args:
      config: a config of one layer, whose width is the first one's.
      cells: label -> fields of the section model.cell that differ from the config's.
    """
    import jax

    from lstm_jax import models, tasks
    from lstm_jax.support import pytrees

    task = tasks.make_task(**config.task.to_dict(), epochs=1, seed=1)
    sizes = dict(vocab=task.vocab, input_dim=task.input_dim, outputs=task.outputs)
    section = config.model.to_dict()

    def parameters(variant: str, width: int) -> int:
        cell = section["cell"] | cells[variant]
        model = models.make_model(**sizes, **section | {"hidden": (width,), "cell": cell})
        return pytrees.count(jax.eval_shape(model.init, jax.random.key(0)))

    (width_of_first,) = section["hidden"]
    wanted = parameters(next(iter(cells)), width_of_first)

    def nearest(variant: str) -> int:
        """By halving: parameters grow with the width."""
        low, high = width_of_first // 2, 16 * width_of_first
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if parameters(variant, middle) <= wanted else (low, middle)
        return min((low, high), key=lambda width: abs(parameters(variant, width) - wanted))

    return {variant: nearest(variant) for variant in cells}
