"""Models: what a task's batches run through. Each is a function of its config section in the table MODELS."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from lstm_jax.models.base import DTYPES, Model, Outputs
from lstm_jax.models.classifier import classifier
from lstm_jax.models.dropout import DROPOUT, drop
from lstm_jax.models.dynamic_memory import dynamic_memory
from lstm_jax.models.recurrent import recurrent
from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import lookup

__all__ = [
    "DROPOUT",
    "DTYPES",
    "FROM_TASK",
    "MODELS",
    "UNREAD",
    "Model",
    "Outputs",
    "classifier",
    "drop",
    "dynamic_memory",
    "make_model",
    "recurrent",
]

MODELS: dict[str, Callable[..., Model]] = {
    "recurrent": recurrent,
    "dynamic_memory": dynamic_memory,
    "classifier": classifier,
}
"""name -> the model's factory; its keyword arguments are the config section `model` minus `name`."""

UNREAD: dict[str, frozenset[str]] = {
    "recurrent": frozenset({"episodes", "episode_gates", "directions", "pooling"}),
    "dynamic_memory": frozenset({"directions", "pooling"}),
    "classifier": frozenset({"episodes", "episode_gates"}),
}
"""The fields of that section which mean nothing to a model: left out at their default, refused at another."""

FROM_TASK = ("sentence_end", "question_end")
"""Arguments that the task knows and the config does not: a factory that has one is given the task's fact."""


def make_model(name: str = "recurrent", *, facts: Mapping[str, Any] = {}, **section: Any) -> Model:
    """The model of that name.

    Args:
      name: a name of MODELS.
      facts: the task's `facts`, read by the models that take an argument of FROM_TASK.
      **section: vocab, input_dim and outputs of the task, and the fields of the config's section `model`.

    Raises:
      UserError: an unknown name, a task without the facts that the model needs, or what the model refuses.
    """
    factory = lookup(MODELS, name, "model")
    unread = UNREAD.get(name, frozenset())
    for field in unread & set(section):
        _check_unset(name, field, section[field])
    arguments = {field: value for field, value in section.items() if field not in unread}
    for fact in FROM_TASK:
        if fact in inspect.signature(factory).parameters:
            if fact not in facts:
                raise UserError(
                    f"model {name!r} needs a task that tells its {fact}, such as questions: take that task, "
                    "or set model.name=recurrent"
                )
            arguments[fact] = facts[fact]
    return factory(**arguments)


def _check_unset(name: str, field: str, value: Any) -> None:
    """Raises UserError where a field that the model `name` does not read was set all the same."""
    for other, factory in MODELS.items():
        default = inspect.signature(factory).parameters.get(field)
        if default is not None and value != default.default:
            raise UserError(
                f"model.{field}={value!r} means nothing to the model {name!r}: leave it at "
                f"{default.default!r}, or set model.name={other}"
            )
