"""What a network is to learn. Each task is a function of its config section in the table TASKS.

To add a generated task: one file with one function that returns a Generator (see delayed_recall.py), and one
line in GENERATORS.
"""

import inspect
from collections.abc import Callable
from typing import Any

from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import check_name, lookup
from lstm_jax.tasks.a_n_b_n import a_n_b_n
from lstm_jax.tasks.adding import adding, adding_1997, multiplication
from lstm_jax.tasks.associative_recall import associative_recall
from lstm_jax.tasks.base import Batch, Criterion, Metrics, Scores, Task, figure_names
from lstm_jax.tasks.binary import binary_addition, binary_multiplication, compute_sqrt
from lstm_jax.tasks.context_free import (
    modular_arithmetic_brackets,
    reverse_string,
    solve_equation,
    stack_manipulation,
)
from lstm_jax.tasks.context_sensitive import bucket_sort, duplicate_string, missing_duplicate, odds_first
from lstm_jax.tasks.continual_reber import continual_reber
from lstm_jax.tasks.copying import copying, selective_copying, variable_copying
from lstm_jax.tasks.delayed_recall import delayed_recall
from lstm_jax.tasks.dyck import dyck
from lstm_jax.tasks.embedded_reber import embedded_reber
from lstm_jax.tasks.generated import Generator, generated
from lstm_jax.tasks.language_model import language_model
from lstm_jax.tasks.long_lag import long_lag_2a, long_lag_2b, long_lag_2c
from lstm_jax.tasks.mqar import mqar
from lstm_jax.tasks.parity import parity
from lstm_jax.tasks.pixels import pixels
from lstm_jax.tasks.questions import questions
from lstm_jax.tasks.regular import cycle_navigation, even_pairs, modular_arithmetic
from lstm_jax.tasks.state_tracking import state_tracking
from lstm_jax.tasks.temporal_order import temporal_order
from lstm_jax.tasks.text_classification import text_classification
from lstm_jax.tasks.warped import warped

__all__ = [
    "GENERATORS",
    "TASKS",
    "Batch",
    "Criterion",
    "Metrics",
    "Scores",
    "Task",
    "arguments",
    "figure_names",
    "make_task",
]

GENERATORS: dict[str, Callable[..., Generator]] = {
    "delayed_recall": delayed_recall,
    "adding": adding,
    "adding_1997": adding_1997,
    "multiplication": multiplication,
    "copying": copying,
    "variable_copying": variable_copying,
    "selective_copying": selective_copying,
    "long_lag_2a": long_lag_2a,
    "long_lag_2b": long_lag_2b,
    "long_lag_2c": long_lag_2c,
    "temporal_order": temporal_order,
    "parity": parity,
    "even_pairs": even_pairs,
    "cycle_navigation": cycle_navigation,
    "modular_arithmetic": modular_arithmetic,
    "stack_manipulation": stack_manipulation,
    "reverse_string": reverse_string,
    "modular_arithmetic_brackets": modular_arithmetic_brackets,
    "solve_equation": solve_equation,
    "duplicate_string": duplicate_string,
    "missing_duplicate": missing_duplicate,
    "odds_first": odds_first,
    "bucket_sort": bucket_sort,
    "binary_addition": binary_addition,
    "binary_multiplication": binary_multiplication,
    "compute_sqrt": compute_sqrt,
    "state_tracking": state_tracking,
    "embedded_reber": embedded_reber,
    "associative_recall": associative_recall,
    "mqar": mqar,
    "questions": questions,
    "a_n_b_n": a_n_b_n,
    "dyck": dyck,
    "warped": warped,
}
"""name -> what describes the sequences of a task that is generated on the device."""

TASKS: dict[str, Callable[..., Task]] = {
    "language_model": language_model,
    "continual_reber": continual_reber,
    "pixels": pixels,
    "text_classification": text_classification,
    **{name: generated(name, make) for name, make in GENERATORS.items()},
}
"""name -> the task's factory; its keyword arguments are the config section `task` minus `name`."""


def arguments(name: str) -> dict[str, Any]:
    """The config section `task` of the task `name` with its defaults; what has none is left out.

    Raises:
      UserError: an unknown name.
    """
    parameters = inspect.signature(lookup(TASKS, name, "task")).parameters.values()
    return {"name": name} | {p.name: p.default for p in parameters if p.default is not p.empty}


def make_task(name: str, **section: Any) -> Task:
    """The task of that name.

    Args:
      name: a name of TASKS.
      **section: the task's own arguments, among them `epochs` and `seed`.

    Raises:
      UserError: an unknown name or argument, what the task itself raises, or arguments with which chance
        already solves it.
    """
    factory = lookup(TASKS, name, "task")
    for argument in section:
        check_name(argument, inspect.signature(factory).parameters, f"argument of the task {name!r}:")
    task = factory(**section)
    if task.solved and all(criterion.met(task.chance) for criterion in task.solved):
        reached = ", ".join(f"{metric} {task.chance[metric]:.4g}" for metric, _, _ in task.solved)
        raise UserError(
            f"the task {name!r} with these arguments is solved by chance, without a look at the input: "
            f"{reached}, where {' and '.join(map(str, task.solved))} is asked; make it longer or more varied"
        )
    return task
