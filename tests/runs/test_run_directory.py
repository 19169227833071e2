"""The directory of a run: made, locked against a second run, and guarded against another config."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_jax.runs import directory
from lstm_jax.runs.directory import RunDirectory, RunPaths, config_differences, write_json
from lstm_jax.runs.metrics import read_result
from lstm_jax.support.errors import UserError

CONFIG = {
    "seed": 1,
    "task": {"name": "language_model", "data_dir": "", "batch": 20},
    "model": {"hidden": (200, 200), "tied": False, "cell": {"name": "lstm", "forget_bias": "1"}},
    "optim": {"learning_rate": 1e-3, "clip": float("inf")},
    "train": {
        "epochs": 10,
        "patience": 0,
        "keep": 2,
        "tensorboard": True,
        "steps_per_call": 100,
        "axis": "jit",
    },
    "evaluate": {"dynamic": False, "sample": 200},
}


def changed(name: str, value: object) -> dict:
    config = copy.deepcopy(CONFIG)
    *sections, field = name.split(".")
    where = config
    for section in sections:
        where = where[section]
    where[field] = value
    return config


def test_makes_the_directory_and_stores_the_config(tmp_path):
    with RunDirectory(tmp_path / "a" / "b") as run:
        assert run.guard(CONFIG) is False
        assert run.guard(CONFIG) is True  # the tuple has become a list on the disk: the same config
    assert RunPaths(tmp_path / "a" / "b").read_config() == json.loads(json.dumps(CONFIG))


def test_paths_are_inside_and_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = RunPaths("run")
    assert not paths.root.exists()
    names = {name: path for name, path in vars(paths).items() if isinstance(path, Path) and name != "root"}
    assert {name: path.name for name, path in names.items()} == {
        "config": "config.json",
        "vocabulary": "vocabulary.json",
        "metrics": "metrics.jsonl",
        "tensorboard": "tensorboard",
        "checkpoints": "checkpoints",
        "curves": "curves.png",
        "lengths": "lengths.png",
        "result": "result.json",
        "stopped": "stopped.json",
        "analysis": "analysis",
    }
    assert all(path.parent == tmp_path / "run" for path in names.values())


# ---- the lock


def test_a_second_run_in_the_same_process_is_refused_until_the_first_ends(tmp_path):
    with RunDirectory(tmp_path):
        with pytest.raises(UserError, match=rf"another run \(process {os.getpid()} on .*\) is writing"):
            RunDirectory(tmp_path)
        with RunDirectory(tmp_path / "beside"):
            pass
    with RunDirectory(tmp_path):
        pass


def test_another_process_is_refused_and_a_killed_one_leaves_no_lock(tmp_path):
    program = (
        "import sys, time; from lstm_jax.runs.directory import RunDirectory\n"
        "run = RunDirectory(sys.argv[1]); print('locked', flush=True); time.sleep(600)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert child.stdout is not None and child.stdout.readline() == b"locked\n"
        with pytest.raises(UserError, match=f"process {child.pid} on"):
            RunDirectory(tmp_path)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    RunDirectory(tmp_path).close()


def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch, caplog):
    def no_locks(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(directory.fcntl, "flock", no_locks)
    with RunDirectory(tmp_path) as run:
        run.guard(CONFIG)
    assert "cannot be locked (Operation not supported)" in caplog.text


def test_a_path_that_cannot_be_a_directory_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"cannot use .* as the workdir"):
            RunDirectory(path)


# ---- the guard


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train.epochs", 11),
        ("train.patience", 3),
        ("train.keep", 5),
        ("train.tensorboard", False),
        ("train.steps_per_call", 7),
        ("evaluate.dynamic", True),
        ("task.data_dir", "/data"),
    ],
)
def test_fields_that_may_change_do_and_are_stored(tmp_path, name, value):
    with RunDirectory(tmp_path) as run:
        run.guard(CONFIG)
        assert run.guard(changed(name, value)) is True
        assert run.read_config() == json.loads(json.dumps(changed(name, value)))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("train.epochs", 9, "train.epochs (was 10, now 9)"),
        ("seed", 2, "seed (was 1, now 2)"),
        ("model.hidden", (200, 100), "model.hidden (was [200, 200], now [200, 100])"),
        ("model.cell.forget_bias", "2", "model.cell.forget_bias (was '1', now '2')"),
        ("model.tied", 0, "model.tied (was False, now 0)"),
        ("model.new", 1, "model.new (was '(absent)', now 1)"),
        ("train.axis", "pmap", "train.axis (was 'jit', now 'pmap')"),
    ],
)
def test_another_config_is_refused_with_the_fields_named(tmp_path, name, value, words):
    with RunDirectory(tmp_path) as run:
        run.guard(CONFIG)
        with pytest.raises(UserError) as caught:
            run.guard(changed(name, value))
        assert words in str(caught.value) and "\n" not in str(caught.value)
        assert run.read_config() == json.loads(json.dumps(CONFIG))


def test_only_what_is_refused_is_named_and_all_of_it(tmp_path):
    new = changed("train.epochs", 12)
    new["seed"] = 3
    del new["optim"]["clip"]
    with RunDirectory(tmp_path) as run:
        run.guard(CONFIG)
        with pytest.raises(UserError, match=r"seed .*optim.clip .was inf, now '.absent.'") as caught:
            run.guard(new)
    assert "train.epochs (was" not in str(caught.value)


def test_differences_know_that_nan_is_nan_and_that_one_is_one():
    old, new = {"a": float("nan"), "b": 1, "c": (1,)}, {"a": float("nan"), "b": 1.0, "c": [1]}
    assert config_differences(old, new) == {}
    assert config_differences({"a": {"b": 1}}, {"a": {"b": True}}) == {"a.b": (1, True)}


def test_checkpoints_without_a_config_are_refused(tmp_path):
    (tmp_path / "checkpoints" / "latest" / "3").mkdir(parents=True)
    with RunDirectory(tmp_path) as run, pytest.raises(UserError, match=r"checkpoints but no config\.json"):
        run.guard(CONFIG)


def test_a_directory_without_a_run_and_a_torn_config_are_user_errors(tmp_path):
    with pytest.raises(UserError, match="not the directory of a run"):
        RunPaths(tmp_path).read_config()
    (tmp_path / "config.json").write_text('{"a": ')
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        RunPaths(tmp_path).read_config()


# ---- atomic JSON


def test_write_json_replaces_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_json(path, {"a": [0.1, float("inf")], "é": None})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": [0.1, float("inf")], "é": None}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(directory.os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write .*x\.json: No space left on device"):
        write_json(path, {"a": 2})
    assert json.loads(path.read_text(encoding="utf-8"))["a"] == [0.1, float("inf")]


def test_two_writers_of_one_file_do_not_meet(tmp_path, monkeypatch):
    """The second begins and ends while the first is writing."""
    path, dump = tmp_path / "a.json", json.dump

    def second(value, file, **how):
        monkeypatch.setattr(json, "dump", dump)
        write_json(path, "second")
        assert json.loads(path.read_text()) == "second"
        dump(value, file, **how)

    monkeypatch.setattr(json, "dump", second)
    write_json(path, "first")
    assert json.loads(path.read_text()) == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


DAMAGED = {
    "[]": "holds a list where an object is expected",
    "null": "holds null where an object is expected",
    "3": "holds a number where an object is expected",
    "[" * 100_000: "cannot be read",
    '{"task": []}': "'task' is a list where an object is expected",
    '{"model": null}': "'model' is null where an object is expected",
}


@pytest.mark.parametrize("text", DAMAGED, ids=list(DAMAGED.values()))
def test_a_config_of_another_kind_is_one_line(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=DAMAGED[text]) as raised:
        RunPaths(tmp_path).read_config()
    assert str(tmp_path / "config.json") in str(raised.value) and "\n" not in str(raised.value)


def test_a_result_of_another_kind_is_one_line(tmp_path):
    for text, message in (("[]", "holds a list"), ('{"figures": 3}', "'figures' is a number")):
        (tmp_path / "result.json").write_text(text)
        with pytest.raises(UserError, match=message):
            read_result(tmp_path)
