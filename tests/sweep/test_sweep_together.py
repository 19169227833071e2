"""Members trained at once under `jax.vmap`: their numbers are those of each trained by itself."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from tiny_sweep import assert_equal_runs, tiny
from tiny_sweep import sweep as diverging
from tiny_text_training import corpus  # noqa: F401  a fixture
from tiny_text_training import tiny as tiny_text

from lstm_jax.predict import Run
from lstm_jax.runs.checkpoint import Checkpoints
from lstm_jax.runs.interrupts import Interrupted
from lstm_jax.runs.metrics import Recorder, read_metrics, read_result
from lstm_jax.support.errors import UserError
from lstm_jax.sweep.define import Sweep, expand
from lstm_jax.sweep.directory import SweepPaths, read_failure, status
from lstm_jax.sweep.member import Job, train_members
from lstm_jax.sweep.run import run
from lstm_jax.training import loop, outcome, program


def rich() -> Sweep:
    """All that members of one program may differ in."""
    config = tiny()
    config.optim.update(clip=1.0, name="adam", schedule="plateau", decay_factor=1.5)
    config.train.epochs = 3
    settings = [
        {"model.cell.forget_bias": "chrono(9)", "optim.learning_rate": 0.03, "optim.clip": 0.2},
        {"model.cell.forget_bias": "0", "model.dropout.output": 0.3, "model.dropout.weight": 0.2},
        {"model.cell.init": "torch", "objective.l2": 0.01, "optim.schedule": "constant", "objective.ar": 0.1},
        {"model.dropout.input": 0.5, "objective.l1": 0.001, "optim.decay_factor": 2.0},
    ]
    return expand(config, {"list": settings, "seeds": [3]})


def test_everything_that_may_differ_is_as_in_a_run_by_itself(tmp_path):
    sweep = rich()
    assert len({program.signature(member.config.to_dict()) for member in sweep.members}) == 1
    for mode in ("sequential", "vmap"):
        found = run(sweep, tmp_path / mode, mode=mode)
        assert len(found.finished) == len(sweep.members) == 4
    assert_equal_runs(tmp_path / "vmap", tmp_path / "sequential", sweep)


def test_a_text_with_all_that_training_has(corpus, tmp_path):
    config = tiny_text(corpus, **{"train.epochs": 1, "task.window_jitter": 0.0})
    sweep = expand(config, {"grid": {"optim.learning_rate": [3.0, 1.0]}, "seeds": 1})
    for mode in ("sequential", "vmap"):
        run(sweep, tmp_path / mode, mode=mode)
    assert_equal_runs(tmp_path / "vmap", tmp_path / "sequential", sweep)


@pytest.mark.parametrize(
    "field, value",
    [
        ("model.hidden", (5,)),
        ("model.cell.name", "gru"),
        ("task.length", 4),
        ("optim.name", "adam"),
        ("optim.clip", 1.0),
        ("optim.beta1", 0.5),
        ("model.dropout.locked", True),
        ("model.dropout.zoneout_cell", 0.1),
        ("train.epochs", 3),
    ],
)
def test_what_is_of_another_program_is_kept_apart(field, value):
    one = tiny().to_dict()
    other = expand(tiny(), {"list": [{field: value}]}).members[0].config.to_dict()
    assert program.signature(one) != program.signature(other)


def test_what_the_optimizer_keeps_is_apart_where_it_is_absent():
    def signature(**fields: Any) -> tuple:
        return program.signature(expand(tiny(), {"list": [fields]}).members[0].config.to_dict())

    decoupled = {"objective.penalty": "decoupled"}
    assert signature(**decoupled) != signature(**decoupled, **{"objective.l2": 0.1})
    assert signature(**{"objective.l2": 0.2}) == signature(**{"objective.l2": 0.1})
    frozen = {"model.cell.forget_bias_trainable": False}
    chrono = {"model.cell.forget_bias": "chrono(9)"}
    assert signature(**frozen) != signature(**frozen, **chrono)
    assert signature() == signature(**chrono)


def test_runs_under_pmap_are_trained_by_themselves(tmp_path):
    """Their dropout is drawn device by device, as no other run's is."""
    config = tiny()
    config.train.axis = "pmap"
    members = expand(config, {"grid": {"optim.learning_rate": [0.1, 0.2]}, "seeds": 2}).members
    assert len({program.signature(member.config.to_dict()) for member in members}) == 4
    with pytest.raises(UserError, match="train such runs apart"):
        loop.run_together([config, config], [str(tmp_path / name) for name in "ab"])


def test_one_that_diverges_is_fenced_off(tmp_path):
    """Two of four have a learning rate of 1e30: they fail, say why, and touch no other."""
    for mode in ("sequential", "vmap"):
        found = run(diverging(), tmp_path / mode, mode=mode)
        assert [name.split(",")[0] for name in found.finished] == ["learning_rate=0.1"] * 2
        assert all("not finite at step" in reason for reason in found.failed.values())
    failures = [
        [read_failure(SweepPaths(tmp_path / mode).member(name)) for name in found.failed]
        for mode in ("sequential", "vmap")
    ]
    assert [f["error"] for f in failures[0]] == [f["error"] for f in failures[1]]
    good = diverging()._replace(members=diverging().members[:2])
    assert_equal_runs(tmp_path / "vmap", tmp_path / "sequential", good)


def test_stopped_and_gone_on_with_it_is_bit_for_bit_the_same(tmp_path, monkeypatch):
    sweep = rich()._replace(members=rich().members[:3])
    write, count = Recorder.write, []

    def interrupting(self: Recorder, step: int, kind: str, **values: object) -> None:
        write(self, step, kind, **values)
        count.append(kind)
        if len(count) == 3 * 4:  # in the second epoch
            os.kill(os.getpid(), signal.SIGTERM)

    run(sweep, tmp_path / "whole", mode="vmap")
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "write", interrupting)
        with pytest.raises(Interrupted):
            run(sweep, tmp_path / "stopped", mode="vmap")
    assert not list((tmp_path / "stopped").glob("members/*/result.json"))
    found = run(sweep, tmp_path / "stopped", mode="vmap")
    assert len(found.finished) == 3
    for member in sweep.members:
        whole, stopped = (SweepPaths(tmp_path / name).member(member.name) for name in ("whole", "stopped"))
        assert "going on from step" in (stopped / "run.log").read_text()
        assert read_result(whole)["figures"] == read_result(stopped)["figures"]
        rows, like = read_metrics(stopped), read_metrics(whole)
        assert [row.get("nats") for row in rows] == [row.get("nats") for row in like]


class Killed(BaseException):
    """As near to a kill as one process comes: nothing is saved after it, and nothing catches it."""


def test_killed_twice_it_ends_with_the_same_bits(tmp_path, monkeypatch):
    """Each kill comes in the middle of a group's saves, so that members stand at different steps.

    A program of fewer members rounds otherwise, so they must go back to the step that all have, and the group
    must stay as it was, though one member has diverged and another has solved its task by then.
    """
    config = tiny()
    config.train.update(epochs=6, stop_when_solved=True)
    config.optim.update(name="adam", clip=1.0)
    config.task.update(length=1, symbols=2, epoch_steps=20, batch=8)
    config.model.update(hidden=(24,), embedding=12)
    sweep = expand(config, {"grid": {"optim.learning_rate": [0.05, 1e-5, 2e-5, 3e-5, 4e-5, 1e37]}})
    monkeypatch.setattr("lstm_jax.sweep.member.SAVE_INTERVAL", 1e-9)  # at each evaluation
    run(sweep, tmp_path / "whole", mode="vmap")
    save = Checkpoints.save_latest
    for kill_at in ((40, "rate=3e-05"), (80, "rate=2e-05")):

        def killing(self: Checkpoints, step: int, *rest: Any, at: tuple[int, str] = kill_at) -> None:
            save(self, step, *rest)
            if step == at[0] and at[1] in str(self.directory):
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "save_latest", killing)
            with pytest.raises(Killed):
                run(sweep, tmp_path / "killed", mode="vmap")
    found = run(sweep, tmp_path / "killed", mode="vmap")
    assert len(found.finished) == 5 and len(found.failed) == 1
    steps = set()
    for each in sweep.members:
        whole, killed = (SweepPaths(tmp_path / name).member(each.name) for name in ("whole", "killed"))
        rows, like = (
            [
                {name: value for name, value in row.items() if name != "tokens_per_second"}
                for row in read_metrics(d)
            ]
            for d in (killed, whole)
        )
        assert rows == like, each.name
        if each.name in found.failed:
            continue
        assert "going on from step" in (killed / "run.log").read_text()
        assert read_result(killed)["figures"] == read_result(whole)["figures"]
        steps.add(read_result(killed)["steps"])
        a, b = (Run(str(d)).params for d in (killed, whole))
        jax.tree.map(np.testing.assert_array_equal, a, b)
    assert len(steps) > 1, "one solved its task early"


def test_what_is_finished_when_the_others_are_stopped_keeps_what_it_should(tmp_path, monkeypatch):
    """Of a group that is stopped in its final evaluations one is done: its states to resume from go then."""
    sweep, paths = expand(tiny(), {"seeds": 2}), SweepPaths(tmp_path)
    first, second = (paths.member(member.name) for member in sweep.members)
    write = outcome.write_result

    def interrupting(*arguments: Any) -> None:
        write(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    def left(where: Path) -> list[str]:
        return sorted(entry.name for entry in (where / "checkpoints").iterdir())

    with monkeypatch.context() as patch:
        patch.setattr(outcome, "write_result", interrupting)
        with pytest.raises(Interrupted):
            run(sweep, tmp_path, mode="vmap")
    assert [status(where) for where in (first, second)] == ["finished", "unfinished"]
    assert left(first) == ["best"] and left(second) == ["best", "latest"]

    # A kill between a result and the end of the checkpoints: the next start makes up for it.
    (first / "checkpoints" / "latest").mkdir()
    stamp = (first / "result.json").stat().st_mtime_ns
    assert len(run(sweep, tmp_path, mode="vmap", keep="all").finished) == 2
    assert left(first) == ["best"] and (first / "result.json").stat().st_mtime_ns == stamp
    assert left(second) == ["best", "latest"], "what --keep=all left"
    run(sweep, tmp_path, mode="vmap", keep="none")
    assert left(second) == ["best", "latest"], "what is finished stays as it is"


def test_what_is_finished_is_not_trained_again_with_its_group(tmp_path, monkeypatch):
    """As where Ray starts a task again whose worker died: one of its members was done."""
    every = [
        Job(m.name, m.config.to_dict(), str(tmp_path / m.name), "best", str(tmp_path / "compiled"))
        for m in expand(tiny(), {"seeds": 2}).members
    ]
    (tmp_path / "seed=1").mkdir()
    (tmp_path / "seed=1" / "result.json").write_text("{}")
    requested: list[tuple[str, str]] = []
    train_members(every, lambda *word: requested.append(word))
    assert requested == [("seed=1", "finished"), ("seed=2", "finished")]
    assert (tmp_path / "seed=1" / "result.json").read_text() == "{}"


def test_one_that_cannot_be_trained_at_all_leaves_the_others(tmp_path):
    """What is wrong with a directory is found before anything is trained together: the group is halved."""
    sweep = expand(tiny(), {"seeds": 3})
    broken = SweepPaths(tmp_path).member(sweep.members[1].name)
    (broken / "checkpoints" / "latest" / "4").mkdir(parents=True)  # checkpoints, and no config
    found = run(sweep, tmp_path, mode="vmap")
    assert len(found.finished) == 2
    assert "no config.json" in found.failed[sweep.members[1].name]


def test_solved_members_leave_early(tmp_path):
    config = tiny()
    config.train.update(epochs=6, stop_when_solved=True)
    config.optim.update(name="adam", clip=1.0)
    config.task.update(length=1, symbols=2, epoch_steps=20)
    sweep = expand(config, {"grid": {"optim.learning_rate": [0.05, 0.0]}, "seeds": 2})
    for mode in ("sequential", "vmap"):
        run(sweep, tmp_path / mode, mode=mode)
    steps = [read_result(SweepPaths(tmp_path / "vmap").member(m.name))["steps"] for m in sweep.members]
    assert steps[2:] == [120, 120] and max(steps[:2]) < 120
    assert_equal_runs(tmp_path / "vmap", tmp_path / "sequential", sweep)


MESH = """
import jax
from tiny_sweep import tiny
from lstm_jax.sweep.define import expand
from lstm_jax.sweep.run import run

config = tiny()
config.optim.clip = 1.0
config.train.tensorboard = False
sweep = expand(config, {"grid": {"optim.learning_rate": [0.1, 0.5]}, "seeds": 8})
assert len(sweep.members) == 16 and jax.device_count() == 8
run(sweep, "WORKDIR", mode="vmap", member_devices=4)

config.task.batch = 10  # 8 devices: on 5 alone; on 2 x 2 of 2 x 4 as two together
for mode in ("sequential", "vmap"):
    run(expand(config, {"seeds": 2}), f"WORKDIR-{mode}", mode=mode)
"""


def test_sixteen_members_over_a_mesh_of_four_by_two(on_devices: Callable[..., str], tmp_path):
    on_devices(MESH.replace("WORKDIR", str(tmp_path / "mesh")))
    config = tiny()
    config.optim.clip = 1.0
    config.train.tensorboard = False
    sweep = expand(config, {"grid": {"optim.learning_rate": [0.1, 0.5]}, "seeds": 8})
    run(sweep, tmp_path / "sequential", mode="sequential")
    assert_equal_runs(tmp_path / "mesh", tmp_path / "sequential", sweep)

    config.task.batch = 10
    uneven = expand(config, {"seeds": 2})
    run(uneven, tmp_path / "one", mode="sequential")
    for mode in ("sequential", "vmap"):
        assert_equal_runs(tmp_path / f"mesh-{mode}", tmp_path / "one", uneven)
    log = (SweepPaths(tmp_path / "mesh-sequential").member("seed=1") / "run.log").read_text()
    assert "task.batch=10 does not divide over 8 devices: training on 5 of them" in log
    assert "5 cpu device(s)" in log


def test_impossible_requests(tmp_path):
    with pytest.raises(UserError, match="--together=0"):
        run(rich(), tmp_path, mode="vmap", together=0)
    with pytest.raises(UserError, match="1 devices cannot be cut into 3"):
        loop.run_together(
            [m.config for m in rich().members[:2]], [str(tmp_path / c) for c in "ab"], member_devices=3
        )
    assert not list(tmp_path.glob("members/*"))
