"""A run's directory as Python: its config, task, model and parameters, each made when it is asked for."""

import os
from functools import cached_property
from typing import Any

import jax

from lstm_jax import models, tasks
from lstm_jax.corpora import Encoder, Vocabulary, describe_encoding_change, read_encoder, read_vocabulary
from lstm_jax.models import Model
from lstm_jax.runs.checkpoint import read_best
from lstm_jax.runs.directory import RunPaths
from lstm_jax.support import rng
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params
from lstm_jax.tasks.base import Task

__all__ = ["Run"]


class Run:
    """A run of any task, read only: nothing in its directory is changed, and its training may go on.

    Each part is made when it is first asked for: a language model's needs no corpus, only the vocabulary that
    the run saved.

    Args:
      directory: the workdir of a training run.
      data_dir: where the corpus lies now, in place of the config's `task.data_dir`; "" leaves that.

    Raises:
      UserError: no such directory, or not a run's.
    """

    def __init__(self, directory: str | os.PathLike[str], data_dir: str = ""):
        self.paths = RunPaths(directory)
        if not self.paths.root.is_dir():
            raise UserError(f"there is no directory {self.paths.root}: give the workdir of a training run")
        self.config: dict[str, Any] = self.paths.read_config()
        self._data_dir = data_dir

    @property
    def task_name(self) -> str | None:
        """The name of the task, as in TASKS."""
        return self.config.get("task", {}).get("name")

    @property
    def is_language_model(self) -> bool:
        """Whether the run has a vocabulary and reads text."""
        return self.task_name == "language_model"

    @property
    def is_classifier(self) -> bool:
        """Whether the run puts labels on texts."""
        return self.task_name == "text_classification"

    @cached_property
    def encoder(self) -> Encoder:
        """How a classifier reads texts, and its labels. Raises UserError as `vocabulary`."""
        return read_encoder(self.paths.vocabulary)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The tokens of a language model. Raises UserError where the run left none, or it cannot be read."""
        return read_vocabulary(self.paths.vocabulary)

    @cached_property
    def task(self) -> Task:
        """The task, its data loaded or generated anew.

        Raises:
          UserError: as `tasks.make_task`, or the texts give other tokens or labels than the run was trained
            with, whose parameters would then be of others.
        """
        section = dict(self.config.get("task", {}))
        if self._data_dir and "data_dir" in section:
            section["data_dir"] = self._data_dir
        epochs = self.config.get("train", {}).get("epochs", 1)
        task = tasks.make_task(**section, epochs=epochs, seed=self.config.get("seed", 0))
        if task.text_encoding is None or not self.paths.vocabulary.exists():
            return task
        if change := describe_encoding_change(task.text_encoding, self.paths.vocabulary):
            where = f" in {section['data_dir']}" if section.get("data_dir") else ""
            raise UserError(
                f"the texts{where} are not those that the run in {self.paths.root} was trained on: {change}; "
                "say by --data_dir where those lie (what Python brings along changes with its version)"
            )
        return task

    @cached_property
    def model(self) -> Model:
        """The model, on the plain scan. Raises UserError where the config is of another version."""
        if self.is_language_model:
            sizes: dict[str, Any] = {"vocab": len(self.vocabulary), "outputs": len(self.vocabulary)}
        elif self.is_classifier:
            sizes = {"vocab": len(self.encoder.vocabulary), "outputs": len(self.encoder.labels)}
        else:
            task = self.task
            sizes = {"vocab": task.vocab, "input_dim": task.input_dim, "outputs": task.outputs}
            sizes["facts"] = task.facts
        # The scan backend runs everywhere, serves every option and has the gates, whatever trained the run;
        # step by step, so that any length can be exported.
        if "model" not in self.config:
            raise UserError(f"{self.paths.config} has no section 'model': put back a copy of the file")
        section = {**self.config["model"], "backend": "scan", "remat_chunk": 0, "scan_unroll": 1}
        try:
            return models.make_model(**sizes, **section)
        except TypeError as error:
            raise UserError(
                f"the model in {self.paths.config} is of another version of lstm_jax ({error}): use the "
                "commit that trained it"
            ) from error

    @cached_property
    def _best(self) -> tuple[Params, dict[str, Any]]:
        shapes = jax.eval_shape(self.model.init, jax.random.key(0))
        return read_best(self.paths.root, shapes)

    @property
    def params(self) -> Params:
        """The best parameters so far. Raises UserError where none was saved yet, or they do not fit."""
        return self._best[0]

    @property
    def step(self) -> int:
        """The training step of `params`."""
        return self._best[1]["step"]

    @cached_property
    def initial_params(self) -> Params:
        """The parameters at step 0: drawn anew from the config's seed, as training drew them.

        A run with `train.init_from` began elsewhere; these are then what it would have begun with otherwise.
        """
        return self.model.init(jax.random.key(self.config.get("seed", 0)))

    @cached_property
    def traced(self) -> tuple[dict[str, Array], ...]:
        """What the cell of each layer traces, name -> [16, 2, H], over noise with the initial parameters.

        Tells which gates there are and their range, before any data is read.
        """
        vocab = len(self.vocabulary) if self.is_language_model else self.task.vocab
        key = rng.stream(jax.random.key(0), "traced")
        if vocab is not None:
            noise = jax.random.randint(key, (16, 2), 0, vocab)
        else:
            noise = jax.random.normal(key, (16, 2, self.task.input_dim or 1))
        params = self.initial_params
        return self.model.apply(params, noise, self.model.carry(params, 2)).traces
