"""A sweep on a Ray cluster of this machine: stopped, gone on with, and the same as one after the other."""

import os
import signal

import pytest
from tiny_sweep import assert_equal_runs, tiny

from lstm_jax.runs.interrupts import Interrupted
from lstm_jax.runs.metrics import read_metrics
from lstm_jax.support.errors import UserError
from lstm_jax.sweep import on_ray
from lstm_jax.sweep.define import Sweep, expand
from lstm_jax.sweep.directory import SweepPaths, status
from lstm_jax.sweep.run import run


def sweep() -> Sweep:
    """One that is over in a moment, one that diverges, one that takes seconds."""
    config = tiny()
    config.train.update(epochs=1, tensorboard=False)
    runs = {
        "short": {"task.epoch_steps": 4},
        "bad": {"optim.learning_rate": 1e30},
        "long": {"task.epoch_steps": 3000},
    }
    return expand(config, {"list": runs})


def test_stopped_and_gone_on_with_it_is_the_same_as_sequential(tmp_path, monkeypatch, capfd):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    paths = SweepPaths(tmp_path / "ray")
    long = paths.member(sweep().members[2].name)
    follow = on_ray._follow

    def interrupting(*arguments: object) -> None:
        follow(*arguments)  # type: ignore[arg-type]
        if (long / "metrics.jsonl").exists() and read_metrics(long):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(on_ray, "_follow", interrupting)
        patch.setattr(on_ray, "LOOK", 0.05)
        with pytest.raises(Interrupted):
            run(sweep(), paths.root, mode="ray", jobs=2)
    assert status(long) == "unfinished"
    saved = [int(entry.name) for entry in (long / "checkpoints" / "latest").iterdir() if entry.name.isdigit()]
    assert 0 < max(saved) < 3000 and "stopped at step" not in capfd.readouterr().err

    outcome = run(sweep(), paths.root, mode="ray", jobs=2)
    assert len(outcome.finished) == 2 and "not finite" in next(iter(outcome.failed.values()))
    assert f"going on from step {max(saved)}" in (long / "run.log").read_text()
    run(sweep(), tmp_path / "sequential", mode="sequential")
    assert_equal_runs(paths.root, tmp_path / "sequential", sweep()._replace(members=sweep().members[::2]))


def test_impossible_requests(tmp_path):
    with pytest.raises(UserError, match=r"--address=1\.2\.3\.4:5 goes with --mode=ray"):
        run(sweep(), tmp_path, mode="sequential", address="1.2.3.4:5")
    with pytest.raises(UserError, match="--task_cpus=0"):
        run(sweep(), tmp_path, mode="ray", task_cpus=0.0)


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[ray\]'"):
        run(sweep(), tmp_path, mode="ray")
