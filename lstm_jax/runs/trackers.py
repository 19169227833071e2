"""Metrics reported to experiment trackers beside metrics.jsonl: Weights & Biases, MLflow.

A tracker is a small class with `log` and `close`; TRACKERS has them by the names that `train.track` takes. A
run stores its identifiers in trackers.json, so that it reports to the same place when it is resumed. Training
never depends on a tracker: where one fails, the run logs that once and reports no more to it.
"""

import importlib
import json
import logging
import math
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from lstm_jax.runs.directory import flat_config, write_json
from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import check_name

__all__ = ["TRACKERS", "MlflowTracker", "Tracker", "Trackers", "WandbTracker"]

_log = logging.getLogger(__name__)

PROJECT = "lstm_jax"
"""Project (wandb) or experiment (MLflow), where WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME sets no other."""


class Tracker(Protocol):
    """What a tracker is.

    Attributes:
      id: names the run to the tracker; a new one is given the id of the run that it resumes.
    """

    id: str

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Reports finite numbers by `kind/name`, measured after `step` training steps."""

    def close(self) -> None:
        """Ends the report."""


class WandbTracker:
    """Reports to Weights & Biases, by its package `wandb`.

    Args:
      directory: of the run; its name is the run's, and the sweep's is its group.
      config: of the run, by dotted field.
      resumed: the id of the run to resume; "" begins one.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any], resumed: str = ""):
        wandb = importlib.import_module("wandb")
        self.id = resumed or secrets.token_hex(8)
        self._run = wandb.init(
            project=_from_environment("WANDB_PROJECT"),
            id=self.id,
            name=directory.name,
            group=_sweep_of(directory),
            dir=str(directory),
            config=dict(config),
            resume="allow",
            reinit="create_new",  # runs that train together report side by side
        )
        # After a kill some steps are trained again, and wandb's own counter cannot go back.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Reports the values; see Tracker."""
        self._run.log({"step": step, **values})

    def close(self) -> None:
        """Ends the run; see Tracker."""
        self._run.finish()


class MlflowTracker:
    """Reports to MLflow, by its package `mlflow` and its tracking URI.

    Args:
      directory, config, resumed: see WandbTracker.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any], resumed: str = ""):
        mlflow = importlib.import_module("mlflow")
        self._client = mlflow.MlflowClient()  # the module's own functions know one run a process
        self.id = resumed or self._begin(directory, config)

    def _begin(self, directory: Path, config: Mapping[str, Any]) -> str:
        name = _from_environment("MLFLOW_EXPERIMENT_NAME")
        found = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        tags = {"directory": str(directory), "sweep": _sweep_of(directory) or ""}
        run = self._client.create_run(experiment, run_name=directory.name, tags=tags)
        for field, value in config.items():
            self._client.log_param(run.info.run_id, field, value)
        return run.info.run_id

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Reports the values; see Tracker."""
        for name, value in values.items():
            self._client.log_metric(self.id, name, value, step=step)

    def close(self) -> None:
        """Ends the run; see Tracker."""
        self._client.set_terminated(self.id)


TRACKERS: dict[str, Callable[..., Tracker]] = {"wandb": WandbTracker, "mlflow": MlflowTracker}
"""The trackers by name: (directory, config, resumed id) -> tracker."""


class Trackers:
    """The trackers of one run. Use it as a context manager: leaving it ends the reports.

    Args:
      names: of TRACKERS, with commas between; "" reports to none.
      directory: of the run.
      config: of the run, nested.

    Raises:
      UserError: an unknown name, or a package that is not installed.
    """

    def __init__(self, names: str, directory: Path, config: Mapping[str, Any]):
        wanted = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
        for name in wanted:
            check_name(name, TRACKERS, "tracker of train.track:")
        self._trackers: dict[str, Tracker] = {}
        ids = _read_ids(directory / "trackers.json") if wanted else {}
        for name in wanted:
            try:
                self._trackers[name] = TRACKERS[name](directory, dict(flat_config(config)), ids.get(name, ""))
            except ImportError as error:
                raise UserError(
                    f"train.track={names!r} needs the package {name}: pip install {name}, or leave it out"
                ) from error
            except Exception as error:  # no network, no account: each package has its own kinds
                self._give_up(name, error)
        if self._trackers:
            found = {name: tracker.id for name, tracker in self._trackers.items()}
            write_json(directory / "trackers.json", ids | found)

    def write(self, step: int, kind: str, values: Mapping[str, Any]) -> None:
        """Reports one row of metrics; see `metrics.Recorder.write`."""
        if not self._trackers:
            return
        numbers = {
            f"{kind}/{name}": float(value)
            for name, value in values.items()
            if not isinstance(value, str | bool) and value is not None and math.isfinite(value)
        }
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.log(int(step), numbers)
            except Exception as error:
                self._give_up(name, error)

    def _give_up(self, name: str, error: Exception) -> None:
        self._trackers.pop(name, None)
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        _log.warning("%s fails (%s): metrics go to metrics.jsonl alone from here on", name, reason)

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(self, *_: object) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                tracker.close()
            except Exception as error:
                self._give_up(name, error)


def _read_ids(path: Path) -> dict[str, str]:
    """Returns tracker -> the id that the run has there; {} where there is none, or the file is damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _sweep_of(directory: Path) -> str | None:
    """Returns the name of the sweep that the run is a member of."""
    return directory.parent.parent.name if directory.parent.name == "members" else None


def _from_environment(variable: str) -> str:
    return os.environ.get(variable) or PROJECT
