"""A language model's run as something that can be asked: its best parameters, model and vocabulary."""

import os

from lstm_jax.predict.classification import Classifier
from lstm_jax.predict.language_model import LanguageModel
from lstm_jax.predict.run import Run
from lstm_jax.support.errors import UserError

__all__ = ["load", "load_model", "model_of"]


def load(directory: str | os.PathLike[str]) -> LanguageModel:
    """The best parameters of a run so far; nothing in the directory is changed, the run may go on.

    Raises:
      UserError: no such directory, not a run's, not a language model's, or nothing evaluated yet.
    """
    return model_of(Run(directory))


def load_model(directory: str | os.PathLike[str]) -> LanguageModel | Classifier | Run:
    """Returns a trained run as what its task makes of it; offered as `lstm_jax.load`.

    Args:
      directory: of the run (what --workdir was in training).

    Returns:
      A `LanguageModel` or a `Classifier`; for any other task the `Run`, with its task, model and parameters.

    Raises:
      UserError: no such directory, not a run's, or nothing evaluated yet.
    """
    run = Run(directory)
    if run.is_classifier:
        return Classifier(run)
    return model_of(run) if run.is_language_model else run


def model_of(run: Run) -> LanguageModel:
    """The same of a run that is open already.

    Raises:
      UserError: not a language model's, or nothing evaluated yet.
    """
    if not run.is_language_model:
        raise UserError(
            f"{run.paths.root} holds a run of the task {run.task_name!r}: only a language_model can generate "
            "and score text"
        )
    return LanguageModel(
        model=run.model,
        params=run.params,
        vocabulary=run.vocabulary,
        trims=run.config["task"].get("corpus") == "ptb" and run.vocabulary.level == "char",
        step=run.step,
        directory=str(run.paths.root),
    )
