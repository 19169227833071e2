"""What a network is to learn. Each task is a function of its config section in the table TASKS."""

import inspect
from collections.abc import Callable
from typing import Any

from lstm_jax.registry import check_name, lookup
from lstm_jax.tasks.base import Batch, Metrics, Task
from lstm_jax.tasks.language_model import language_model

__all__ = ["TASKS", "Batch", "Metrics", "Task", "make_task"]

TASKS: dict[str, Callable[..., Task]] = {
    "language_model": language_model,
}
"""name -> the task's factory; its keyword arguments are the config section `task` minus `name`."""


def make_task(name: str, **section: Any) -> Task:
    """The task of that name.

    Args:
      name: a name of TASKS.
      **section: the task's own arguments, among them `epochs` and `seed`.

    Raises:
      UserError: an unknown name or argument, or what the task itself raises.
    """
    factory = lookup(TASKS, name, "task")
    for argument in section:
        check_name(argument, inspect.signature(factory).parameters, f"argument of the task {name!r}:")
    return factory(**section)
