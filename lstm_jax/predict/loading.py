"""A run's directory as something that can be asked: its best parameters, model and vocabulary."""

import os

import jax

from lstm_jax import models
from lstm_jax.checkpoint import Checkpoints
from lstm_jax.corpora import read_vocabulary
from lstm_jax.errors import UserError
from lstm_jax.predict.language_model import LanguageModel
from lstm_jax.run_directory import RunPaths

__all__ = ["load"]


def load(directory: str | os.PathLike[str]) -> LanguageModel:
    """The best parameters of a run so far; nothing in the directory is changed, the run may go on.

    Raises:
      UserError: no such directory, not a run's, not a language model's, or nothing evaluated yet.
    """
    paths = RunPaths(directory)
    if not paths.root.is_dir():
        raise UserError(f"there is no directory {paths.root}: give the workdir of a training run")
    config = paths.read_config()
    task = config.get("task", {})
    if task.get("name") != "language_model":
        raise UserError(
            f"{paths.root} holds a run of the task {task.get('name')!r}: only a language_model can generate "
            "and score text"
        )
    vocabulary = read_vocabulary(paths.vocabulary)
    # The scan backend runs everywhere and serves every option, whatever the machine that trained.
    section = {**config["model"], "backend": "scan", "remat_chunk": 0}
    try:
        model = models.recurrent(vocab=len(vocabulary), outputs=len(vocabulary), **section)
    except TypeError as error:
        raise UserError(
            f"the model in {paths.config} is of another version of lstm_jax ({error}): use the commit that "
            "trained it"
        ) from error
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    with Checkpoints(paths.checkpoints, read_only=True) as checkpoints:
        params, info = checkpoints.restore_best(shapes)
    return LanguageModel(
        model=model,
        params=params,
        vocabulary=vocabulary,
        trims=task.get("corpus") == "ptb" and vocabulary.level == "char",
        step=info["step"],
    )
