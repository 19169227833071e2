"""Metrics reported to trackers: fake packages stand for theirs, as a test must not report anywhere."""

import json
import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_sweep import tiny

from lstm_jax.runs.metrics import read_metrics
from lstm_jax.runs.trackers import TRACKERS, Trackers
from lstm_jax.support.errors import UserError
from lstm_jax.training import loop

CONFIG = {"seed": 3, "optim": {"learning_rate": 0.1}}


class FakeWandb:
    """As much of the package wandb as is used; `runs` holds what came in, by id."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.broken = False

    def init(self, **given: Any) -> Any:
        if given["id"] in self.runs:
            assert given["resume"] == "allow"
        run = self.runs.setdefault(given["id"], {**given, "rows": [], "finished": 0})

        def log(row: dict[str, Any]) -> None:
            if self.broken:
                raise ConnectionError("no network")
            run["rows"].append(row)

        def finish() -> None:
            run["finished"] += 1

        return SimpleNamespace(log=log, finish=finish, define_metric=lambda *_, **__: None)


class FakeMlflow:
    """As much of the package mlflow as is used."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.MlflowClient = lambda: self

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=self.experiments[name]) if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        return self.experiments.setdefault(name, "7")

    def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> Any:
        name = f"run{len(self.runs)}"
        self.runs[name] = {"experiment": experiment, "name": run_name, "params": {}, "rows": [], "ended": 0}
        return SimpleNamespace(info=SimpleNamespace(run_id=name))

    def log_param(self, run: str, field: str, value: Any) -> None:
        self.runs[run]["params"][field] = value

    def log_metric(self, run: str, name: str, value: float, step: int) -> None:
        self.runs[run]["rows"].append((step, name, value))

    def set_terminated(self, run: str) -> None:
        self.runs[run]["ended"] += 1


@pytest.fixture
def packages(monkeypatch):
    fakes = SimpleNamespace(wandb=FakeWandb(), mlflow=FakeMlflow())
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(__import__("sys").modules, name, getattr(fakes, name))
    for variable in ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    return fakes


def test_rows_go_to_every_tracker_and_a_resumed_run_to_the_same_one(packages, tmp_path):
    where = tmp_path / "sweep" / "members" / "seed=3"
    where.mkdir(parents=True)
    for step in (10, 20):
        with Trackers("wandb, mlflow", where, CONFIG) as trackers:
            trackers.write(step, "valid", {"nats": 0.5, "bad": math.nan, "text": "no number", "none": None})
    (run,) = packages.wandb.runs.values()
    assert run["rows"] == [{"step": step, "valid/nats": 0.5} for step in (10, 20)] and run["finished"] == 2
    assert (run["name"], run["group"], run["project"]) == ("seed=3", "sweep", "lstm_jax")
    assert run["config"]["optim.learning_rate"] == 0.1
    (logged,) = packages.mlflow.runs.values()
    assert logged["rows"] == [(10, "valid/nats", 0.5), (20, "valid/nats", 0.5)] and logged["ended"] == 2
    assert logged["params"]["seed"] == 3 and logged["name"] == "seed=3"


@pytest.mark.parametrize("damaged", ["", "[]", "[" * 100_000, '{"wandb": 3}'])
def test_damaged_identifiers_begin_another_report(packages, tmp_path, damaged):
    (tmp_path / "trackers.json").write_text(damaged)
    with Trackers("wandb", tmp_path, CONFIG):
        pass
    assert json.loads((tmp_path / "trackers.json").read_text()) == {"wandb": next(iter(packages.wandb.runs))}


def test_a_tracker_that_fails_is_given_up_with_one_warning(packages, tmp_path, caplog):
    packages.wandb.broken = True
    with caplog.at_level(logging.WARNING), Trackers("wandb,mlflow", tmp_path, CONFIG) as trackers:
        for step in (1, 2, 3):
            trackers.write(step, "train", {"nats": 1.0})
    assert [record.getMessage() for record in caplog.records if "no network" in record.getMessage()] == [
        "wandb fails (no network): metrics go to metrics.jsonl alone from here on"
    ]
    assert len(next(iter(packages.mlflow.runs.values()))["rows"]) == 3


def test_what_is_no_tracker_or_not_installed_is_refused(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="did you mean 'wandb'"):
        Trackers("wandbb", tmp_path, CONFIG)
    for name in TRACKERS:
        monkeypatch.setitem(__import__("sys").modules, name, None)
        with pytest.raises(UserError, match=f"pip install {name}"):
            Trackers(name, tmp_path, CONFIG)
    assert not list(tmp_path.iterdir())


def test_a_run_reports_what_its_metrics_hold(packages, tmp_path: Path):
    config = tiny()
    config.train.track = "wandb"
    loop.run(config, str(tmp_path / "run"))
    (run,) = packages.wandb.runs.values()
    rows = read_metrics(tmp_path / "run")
    assert [row["step"] for row in run["rows"]] == [row["step"] for row in rows]
    nats = [next(value for name, value in row.items() if name.endswith("/nats")) for row in run["rows"]]
    assert nats == [row["nats"] for row in rows] and run["finished"] == 1
