"""A sweep as a user runs it: in both modes, killed, failed, gone on with, refused."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from tiny_sweep import BAD, DEFINITION, GOOD, sweep, tiny

from lstm_jax.runs.directory import RunDirectory
from lstm_jax.runs.interrupts import Interrupted
from lstm_jax.runs.metrics import Recorder, read_metrics, read_result
from lstm_jax.support.errors import DirectoryInUse, UserError
from lstm_jax.sweep import member as training
from lstm_jax.sweep import run as running
from lstm_jax.sweep import worker
from lstm_jax.sweep.define import expand
from lstm_jax.sweep.directory import SweepPaths, read_failure, status
from lstm_jax.sweep.metric import figures_of
from lstm_jax.sweep.plots import draw
from lstm_jax.sweep.run import run
from lstm_jax.sweep.summary import summarise
from lstm_jax.sweep.table import table


def stamps(directory: Path) -> dict[str, int]:
    """When each file of a run was last written."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.stat().st_mtime_ns for path in files}


def figures(directory: Path, name: str) -> Any:
    return read_result(SweepPaths(directory).member(name))["figures"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep, run sequentially, with nothing in its way."""
    directory = tmp_path_factory.mktemp("whole")
    outcome = run(sweep(), directory, mode="sequential")
    assert outcome.finished == GOOD
    assert list(outcome.failed) == BAD and "not finite at step" in outcome.failed[BAD[0]]
    return directory


def test_each_member_is_an_honest_run_with_its_own_log(whole, capfd):
    paths = SweepPaths(whole)
    record = json.loads(paths.record.read_text())
    assert [member["name"] for member in record["members"]] == GOOD + BAD
    assert record["members"][1]["overrides"] == {"optim.learning_rate": 0.1, "seed": 2}
    for name in GOOD:
        where = paths.member(name)
        assert read_result(where)["config"]["seed"] == int(name[-1])
        assert "parameters" in (where / "run.log").read_text()
        assert [row["kind"] for row in read_metrics(where)].count("valid") == 2
        assert sorted(entry.name for entry in (where / "checkpoints").iterdir()) == ["best"]
    one, two = (figures(whole, name) for name in GOOD)
    assert one != two, "the seeds gave the same run"


def test_a_failed_member_is_recorded_and_not_tried_again_unasked(whole):
    failure = read_failure(SweepPaths(whole).member(BAD[0]))
    assert failure["kind"] == "UserError" and "smaller optim.learning_rate" in failure["error"]
    before = stamps(whole / "members")
    outcome = run(sweep(), whole, mode="sequential")
    assert (outcome.finished, list(outcome.failed)) == (GOOD, BAD)
    assert stamps(whole / "members") == before, "something was trained again"


def test_processes_give_the_same_figures(whole, tmp_path):
    outcome = run(sweep(), tmp_path, mode="processes", jobs=2)
    assert outcome.finished == GOOD
    assert outcome.failed == run(sweep(), whole).failed
    for name in GOOD:
        assert figures(tmp_path, name) == figures(whole, name)
        rows, other = (read_metrics(SweepPaths(d).member(name)) for d in (tmp_path, whole))
        assert [row.get("nats") for row in rows] == [row.get("nats") for row in other]


def test_an_interrupted_sweep_goes_on_and_leaves_finished_members_alone(whole, tmp_path, monkeypatch):
    paths, write, count = SweepPaths(tmp_path), Recorder.write, []

    def interrupting(self: Recorder, step: int, kind: str, **values: object) -> None:
        write(self, step, kind, **values)
        count.append(kind)
        if len(count) == 6 + 1:  # a run has four training rows and two evaluations
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "write", interrupting)
        with pytest.raises(Interrupted):
            run(sweep(), tmp_path, mode="sequential")
    assert [status(paths.member(name)) for name in GOOD + BAD] == ["finished", "unfinished", "new", "new"]
    before = stamps(paths.member(GOOD[0]))
    outcome = run(sweep(), tmp_path, mode="sequential")
    assert outcome.finished == GOOD and list(outcome.failed) == BAD
    assert stamps(paths.member(GOOD[0])) == before
    assert "going on from step 2" in (paths.member(GOOD[1]) / "run.log").read_text()
    assert figures(tmp_path, GOOD[1]) == figures(whole, GOOD[1])


def test_ctrl_c_stops_the_workers_and_each_saves(tmp_path):
    config = tmp_path / "long.py"
    config.write_text(
        "from tiny_sweep import tiny\n"
        "def get_config():\n"
        "    config = tiny()\n"
        "    config.train.epochs = 100_000\n"
        "    return config\n"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    workdir = tmp_path / "sweep"
    command = [sys.executable, str(ROOT / "experiments/sweep.py"), f"--config={config}", "--seeds=2"]
    process = subprocess.Popen(
        [*command, "--mode=processes", "--jobs=2", f"--workdir={workdir}"],
        env=os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    members = [SweepPaths(workdir).member(f"seed={seed}") for seed in (1, 2)]
    while not all((member / "metrics.jsonl").exists() for member in members) and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=600)
    assert process.returncode == 128 + signal.SIGINT, out + error
    assert "the same command resumes it" in error and "Traceback" not in error
    for member in members:
        RunDirectory(member).close()  # no worker holds it any more
        assert any((member / "checkpoints/latest").iterdir())


def test_a_worker_that_dies_takes_one_member_with_it(tmp_path, monkeypatch):
    """The first worker is killed as soon as it has begun; another one takes its place."""
    from lstm_jax.sweep import processes

    train, killed = processes._Worker.train, []

    def killing(self: Any, job_group: Any) -> Any:
        if not killed:
            killed.append(job_group[0].name)
            self.process.kill()
        return train(self, job_group)

    monkeypatch.setattr(processes._Worker, "train", killing)
    outcome = run(expand(tiny(), {"seeds": 2}), tmp_path, mode="processes", jobs=1)
    assert outcome.finished == ["seed=2"]
    assert "killed by SIGKILL" in outcome.failed["seed=1"]
    monkeypatch.undo()
    assert run(expand(tiny(), {"seeds": 2}), tmp_path, mode="sequential").failed == {}, "it is tried again"
    assert not (SweepPaths(tmp_path).member("seed=1") / "failure.json").exists()


def test_a_metric_is_looked_for_before_anything_is_trained(tmp_path):
    """A member whose config is no task is no reason to refuse the others."""
    bad = expand(tiny(), {"grid": {"task.length": [0, 3]}, "metric": "acuracy"})
    with pytest.raises(UserError, match="did you mean 'accuracy'"):
        run(bad, tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()
    assert set(figures_of([member.config.to_dict() for member in bad.members])) == {"nats", "accuracy"}
    assert figures_of([bad.members[0].config.to_dict()]) == []


def test_the_launcher_draws_what_its_table_compares(whole, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))

    drawn = []
    from lstm_jax.sweep import plots

    monkeypatch.setattr(plots, "draw", lambda _, comparison, how: drawn.append(comparison.metric) or [])
    import_module("sweep").compare(str(whole), "nats")
    assert drawn == ["nats"] and "test nats" in capsys.readouterr().out


def test_a_member_in_the_hands_of_another_process_never_fails(tmp_path, monkeypatch):
    """As after SIGKILL of the sweep: its workers hold the locks of their members for a while."""
    sweep, paths = expand(tiny(), {"seeds": 2}), SweepPaths(tmp_path)
    held = paths.member("seed=1")
    with monkeypatch.context() as patch:  # taken up between the look and the training
        patch.setattr(running, "still_in_use", lambda directories, seconds: [])
        with RunDirectory(held), pytest.raises(DirectoryInUse, match="seed=1 for one; the others are done"):
            run(sweep, tmp_path, mode="vmap")
    assert [status(paths.member(m.name)) for m in sweep.members] == ["new", "finished"]
    monkeypatch.setattr(running, "WAIT", 0.0)
    with RunDirectory(held), pytest.raises(DirectoryInUse):
        run(sweep, tmp_path, mode="sequential")
    assert not (held / "failure.json").exists()
    assert run(sweep, tmp_path, mode="sequential") == (["seed=1", "seed=2"], {})


def test_a_sweep_waits_for_the_workers_of_one_that_was_killed(tmp_path, caplog):
    held = RunDirectory(SweepPaths(tmp_path).member("seed=1"))
    caplog.set_level("INFO", "lstm_jax")
    timer = threading.Timer(0.5, held.close)
    timer.start()
    try:
        outcome = run(expand(tiny(), {"seeds": 1}), tmp_path, mode="sequential")
    finally:
        timer.join()
    assert outcome.finished == ["seed=1"]
    assert "1 member(s) are being written by another process" in caplog.text


def test_a_worker_whose_parent_is_gone_stops_what_it_has_in_hand(monkeypatch):
    """Its input ends, however early: with the unit that it has just taken up."""
    taken = []

    def endless(job_group: Any, report: Any) -> None:
        taken.append(job_group)
        for _ in range(600):
            time.sleep(0.1)
        pytest.fail("the worker trained on without a parent")

    monkeypatch.setattr(training, "train_members", endless)
    for _ in range(5):  # what ends first, the input or the taking up, is a matter of threads
        found = worker.work(io.BytesIO(pickle.dumps(["a unit"])), io.BytesIO())
        assert found == (128 + signal.SIGTERM if taken else 0)
        taken.clear()


def test_a_worker_that_nobody_hears_ends_its_training_by_the_signal_alone(monkeypatch):
    """The statuses go nowhere: no reason to take the group for one that cannot be trained together."""
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr(training, "train_members", lambda job_group, report: report("a member", "finished"))
    monkeypatch.setattr(worker.os, "kill", lambda *_: None)
    with os.fdopen(write, "wb", buffering=0) as replies:
        assert worker.work(io.BytesIO(pickle.dumps(["a unit"])), replies) == 0


def test_another_sweep_is_refused_with_the_difference_named(whole):
    other = tiny()
    other.model.hidden = (5,)
    with pytest.raises(UserError, match=r"model.hidden \(was \[4\], now \[5\]\)"):
        run(expand(other, DEFINITION), whole)
    with pytest.raises(UserError, match="member learning_rate=1e\\+30,seed=1 and 1 more is no part"):
        run(expand(tiny(), {"grid": {"optim.learning_rate": [0.1]}, "seeds": 2}), whole)
    with pytest.raises(UserError, match="the directory of a run, not of a sweep"):
        run(sweep(), SweepPaths(whole).member(GOOD[0]))
    with pytest.raises(UserError, match="not the directory of a sweep"):
        summarise(whole / "members")


def test_bad_arguments_are_refused(tmp_path):
    for bad in ({"mode": "vmapp"}, {"jobs": -1}, {"keep": "bst"}):
        with pytest.raises(UserError):
            run(sweep(), tmp_path, **bad)
    assert not list(tmp_path.iterdir())


def test_the_summary_counts_failures_and_is_written_beside(whole):
    found = summarise(whole)
    assert [group["labels"] for group in found] == [{"learning_rate": 0.1}, {"learning_rate": 1e30}]
    good, bad = found
    assert (good["finished"], good["failed"], bad["finished"], bad["failed"]) == (2, 0, 0, 2)
    assert bad["mean"] is None and bad["solved"] == 0
    values = [figures(whole, name)["static"]["test"]["accuracy"] for name in GOOD]
    assert good["mean"] == pytest.approx(sum(values) / 2)
    text = table(found)
    assert "test accuracy" in text and "failed" in text and "0/2" in text
    for name in ("summary.json", "summary.csv", "members.csv"):
        assert (whole / name).exists()
    assert json.loads((whole / "summary.json").read_text())["members"][3]["status"] == "failed"
    with pytest.raises(UserError, match="did you mean 'accuracy'"):
        summarise(whole, "acuracy")


def test_the_figures_that_fit_are_drawn(whole):
    files = draw(whole)
    names = ["solved_map", "learning_bands", "parallel_coordinates", "marginals"]
    assert [file.stem for file in files] == names
    assert all(file.stat().st_size > 10_000 for file in files)
