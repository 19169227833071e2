"""Recurrent memory in JAX: cells as pure functions, backends that unroll them, tasks that measure them.

The names below are imported when they are first used: `import lstm_jax` itself imports neither jax nor flax.

  cells                    the cells, e.g. `lstm_jax.cells.lstm(256, forget_bias=1.0)`
  unroll(cell, params, xs) runs a cell over a sequence [T, B, D]; also the package of backends
  tasks                    what there is to learn, e.g. `lstm_jax.tasks.make_task("adding", ...)`
  models                   embedding, stacked cells and head, e.g. `lstm_jax.models.make_model(...)`
  train(config, workdir)   trains a run, or resumes it, and returns its result
  load(directory)          a trained run: a `LanguageModel`, a `Classifier`, or a `Run` of any other task
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstm_jax import cells, models, tasks, unroll
    from lstm_jax.predict.loading import load_model as load
    from lstm_jax.training.loop import run as train

__version__ = "0.2.0"

__all__ = ["__version__", "cells", "load", "models", "tasks", "train", "unroll"]

_FUNCTIONS = {"train": ("lstm_jax.training.loop", "run"), "load": ("lstm_jax.predict.loading", "load_model")}


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        module, attribute = _FUNCTIONS[name]
        return getattr(importlib.import_module(module), attribute)
    if name in __all__:
        return importlib.import_module(f"lstm_jax.{name}")
    raise AttributeError(f"module 'lstm_jax' has no attribute {name!r}; it has {', '.join(__all__[1:])}")


def __dir__() -> list[str]:
    return list(__all__)
