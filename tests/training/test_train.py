"""A run as a user starts it: trained, stopped, killed, resumed, refused."""

import math
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from tiny_text_training import corpus, tiny  # noqa: F401  a fixture

from lstm_jax import evaluate, models, predict, tasks
from lstm_jax.runs.checkpoint import Checkpoints
from lstm_jax.runs.interrupts import Interrupted
from lstm_jax.runs.metrics import Recorder, read_metrics, read_result
from lstm_jax.support.errors import UserError
from lstm_jax.sweep.directory import status
from lstm_jax.sweep.member import Job, train_member
from lstm_jax.training import loop, optim, outcome

ROOT = Path(__file__).parents[2]
TIMES = ("tokens_per_second",)


def final_leaves(workdir: Path, config: ConfigDict) -> tuple[dict, dict]:
    """The last saved state by leaf name, and the host's part of it."""
    sections = config.to_dict()
    task = tasks.make_task(**sections["task"], epochs=config.train.epochs, seed=config.seed)
    model = models.make_model(vocab=task.vocab, outputs=task.outputs, **sections["model"])
    state, _, _ = loop.compile_run(config, task, model)
    with Checkpoints(workdir / "checkpoints", read_only=True) as checkpoints:
        found = checkpoints.restore_latest(state)
    assert found is not None
    state, host = found
    leaves = {
        jax.tree_util.keystr(path): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }
    return leaves, {name: value for name, value in host.items() if name != "seconds"}


def timeless(workdir: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in read_metrics(workdir)]


def assert_same_run(one: Path, other: Path, config: ConfigDict) -> None:
    """Bit for bit: state, host's record, every row of the metrics, the final figures."""
    (a, host_a), (b, host_b) = final_leaves(one, config), final_leaves(other, config)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    assert host_a == host_b
    assert timeless(one) == timeless(other)
    assert read_result(one)["figures"] == read_result(other)["figures"]


@pytest.fixture(scope="module")
def whole(corpus: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    workdir = tmp_path_factory.mktemp("whole")
    loop.run(tiny(corpus), str(workdir))
    return workdir


def test_a_run_learns_and_leaves_what_it_promises(whole: Path, corpus: str) -> None:
    result = read_result(whole)
    figures = result["figures"]["static"]
    assert figures["test"]["perplexity"] < 0.7 * result["facts"]["test_unigram_perplexity"]
    for name in ("commit", "versions", "hardware", "config", "seconds", "best_step"):
        assert result[name] is not None or name == "commit"
    for name in ("config.json", "vocabulary.json", "metrics.jsonl", "curves.png", "checkpoints/best"):
        assert (whole / name).exists(), name
    rows = read_metrics(whole)
    assert {row["kind"] for row in rows} == {"train", "valid"}
    assert rows[-1]["epoch"] == 3.0 and rows[-1]["kind"] == "valid"
    best = min((row for row in rows if row["kind"] == "valid"), key=lambda row: row["nats"])
    assert result["best_step"] == best["step"]
    assert figures["valid"]["nats"] == pytest.approx(best["nats"], rel=1e-6)
    assert predict.load(str(whole)).generate("a b", 5)[0].tokens


def test_averaging_began_and_evaluation_used_the_averaged_weights(whole: Path, corpus: str) -> None:
    config = tiny(corpus)
    leaves, host = final_leaves(whole, config)
    assert optim.averaging_from(host["history"], 0) is not None, "this config no longer triggers averaging"
    assert leaves[".averaging"] and leaves[".average.steps"] > 0
    assert not np.array_equal(leaves[".average.mean['head']['b']"], leaves[".params['head']['b']"])
    sections = config.to_dict()
    task = tasks.make_task(**sections["task"], epochs=3, seed=config.seed)
    model = models.make_model(vocab=task.vocab, outputs=task.outputs, **sections["model"])
    with Checkpoints(whole / "checkpoints", read_only=True) as checkpoints:
        state, _ = checkpoints.restore_latest(loop.compile_run(config, task, model)[0])
    validate = evaluate.make_evaluator(task, model, "valid")
    last = [row for row in read_metrics(whole) if row["kind"] == "valid"][-1]
    assert validate(state.average.mean)["nats"] == pytest.approx(last["nats"], rel=1e-6)
    assert validate(state.params)["nats"] != pytest.approx(last["nats"], rel=1e-6)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_command_goes_on(
    whole: Path, corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signum: int
) -> None:
    """Twice, each time in the middle of an epoch."""
    config = tiny(corpus)
    write = Recorder.write
    calls = []

    def interrupting(self: Recorder, step: int, kind: str, **values: object) -> None:
        write(self, step, kind, **values)
        calls.extend([step] if kind == "train" else [])
        if kind == "train" and len(calls) in (3, 9):
            os.kill(os.getpid(), signum)

    monkeypatch.setattr(Recorder, "write", interrupting)
    for _ in range(2):
        with pytest.raises(Interrupted, match="all saved") as stop:
            loop.run(config, str(tmp_path))
        assert stop.value.signum == signum
    loop.run(config, str(tmp_path))
    assert_same_run(whole, tmp_path, config)


def test_a_signal_during_evaluation_loses_nothing(
    whole: Path, corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(corpus)
    real = evaluate.make_evaluator
    with monkeypatch.context() as patch:

        def make(*arguments: object) -> object:
            def evaluator(params: object, progress: object = None) -> dict:
                os.kill(os.getpid(), signal.SIGTERM)
                return real(*arguments)(params, progress)

            return evaluator

        patch.setattr(evaluate, "make_evaluator", make)
        with pytest.raises(Interrupted):
            loop.run(config, str(tmp_path))
    loop.run(config, str(tmp_path))
    assert_same_run(whole, tmp_path, config)


def test_a_kill_during_a_save_changes_nothing(whole: Path, corpus: str, tmp_path: Path) -> None:
    """SIGKILL while a save is under way: right after `save_latest` has begun to write."""
    config = tiny(corpus)
    script = f"""
    import os, signal, sys
    sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
    from lstm_jax.training import loop
    from lstm_jax.runs.checkpoint import Checkpoints
    from tiny_text_training import tiny
    save, saves = Checkpoints.save_latest, []
    def killing(self, *arguments):
        save(self, *arguments)
        saves.append(1)
        if len(saves) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    Checkpoints.save_latest = killing
    loop.run(tiny({corpus!r}), {str(tmp_path)!r})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, timeout=600)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    loop.run(config, str(tmp_path))
    assert_same_run(whole, tmp_path, config)


def test_a_kill_between_an_evaluation_and_its_save_doubles_no_row(
    whole: Path, corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop saves at the step of an evaluation that is due; the next life dies once its row is written."""
    config = tiny(corpus)
    write = Recorder.write

    class Killed(BaseException):
        pass

    def stop_at_nine(self: Recorder, step: int, kind: str, **values: object) -> None:
        write(self, step, kind, **values)
        if (step, kind) == (9, "train"):
            os.kill(os.getpid(), signal.SIGTERM)

    def die_after_valid(self: Recorder, step: int, kind: str, **values: object) -> None:
        write(self, step, kind, **values)
        if kind == "valid":
            raise Killed

    for act, error in ((stop_at_nine, Interrupted), (die_after_valid, Killed)):
        monkeypatch.setattr(Recorder, "write", act)
        with pytest.raises(error):
            loop.run(config, str(tmp_path))
    monkeypatch.setattr(Recorder, "write", write)
    loop.run(config, str(tmp_path))
    assert_same_run(whole, tmp_path, config)


def test_a_finished_run_is_not_trained_again(
    whole: Path, corpus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = timeless(whole)
    result = loop.run(tiny(corpus), str(whole))
    assert timeless(whole) == before
    assert result["figures"] == read_result(whole)["figures"]


def test_another_config_is_refused_with_the_fields_named(whole: Path, corpus: str) -> None:
    with pytest.raises(UserError, match=r"optim\.learning_rate \(was 6\.0, now 3\.0\)"):
        loop.run(tiny(corpus, **{"optim.learning_rate": 3.0}), str(whole))


def test_other_texts_are_refused_and_change_nothing(whole: Path, corpus: str, tmp_path: Path) -> None:
    others = shutil.copytree(corpus, tmp_path / "corpus")
    lines = (others / "valid.txt").read_text().splitlines(keepends=True)
    (others / "valid.txt").write_text("".join(reversed(lines)))
    kept = {name: (whole / f"{name}.json").read_bytes() for name in ("config", "vocabulary", "result")}
    with pytest.raises(UserError, match=r"texts have changed since .* fingerprint was"):
        loop.run(tiny(str(others)), str(whole))
    assert all((whole / f"{name}.json").read_bytes() == before for name, before in kept.items())


def test_a_loss_that_is_not_finite_stops_the_run_at_its_step(corpus: str, tmp_path: Path) -> None:
    config = tiny(corpus, **{"optim.learning_rate": 1e38, "optim.clip": 0.0, "train.steps_per_call": 2})
    with pytest.raises(UserError, match=r"not finite at step (\d+)") as error:
        loop.run(config, str(tmp_path))
    step = int(str(error.value).split("at step ")[1].split(":")[0])
    assert 0 < step < 20
    with Checkpoints(tmp_path / "checkpoints", read_only=True) as checkpoints:
        assert checkpoints.restore_latest({}) is None  # nothing that is not finite was saved


def test_patience_ends_a_run_early(corpus: str, tmp_path: Path) -> None:
    config = tiny(corpus, **{"optim.learning_rate": 0.0, "train.patience": 1, "train.epochs": 9})
    config.optim.schedule = "constant"
    result = loop.run(config, str(tmp_path))
    rows = [row for row in read_metrics(tmp_path) if row["kind"] == "valid"]
    assert len(rows) == 2 and result["best_step"] == rows[0]["step"]


def test_a_run_may_start_from_the_best_of_another(whole: Path, corpus: str, tmp_path: Path) -> None:
    changes = {"train.init_from": str(whole), "optim.learning_rate": 0.0, "train.epochs": 1}
    changes |= {"optim.average": False, "optim.schedule": "constant"}
    result = loop.run(tiny(corpus, **changes), str(tmp_path))
    assert result["figures"] == read_result(whole)["figures"]


ADAPTING = {"evaluate.dynamic": True, "evaluate.cache": True, "train.epochs": 1, "evaluate.sample": 5}


@pytest.fixture(scope="module")
def adapted(corpus: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with dynamic and cache evaluation at its end, that nothing stopped."""
    workdir = tmp_path_factory.mktemp("adapted")
    figures = loop.run(tiny(corpus, **ADAPTING), str(workdir))["figures"]
    assert figures == read_result(workdir)["figures"]
    return workdir


def test_a_run_stopped_or_failing_while_it_adapts_is_not_finished(
    adapted: Path, corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """result.json is there once all is in it: what a sweep takes for finished has its dynamic figures too."""
    job = Job(
        "member", tiny(corpus, **ADAPTING).to_dict(), str(tmp_path / "run"), "best", str(tmp_path / "c")
    )
    real = outcome._adaptive

    def stopping(*arguments: Any) -> dict:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)

    def failing(*arguments: Any) -> dict:
        raise UserError("dynamic evaluation left the finite numbers")

    with monkeypatch.context() as patch:
        patch.setattr(outcome, "_adaptive", failing)
        assert train_member(job) == "failed" and status(job.directory) == "failed"
        patch.setattr(outcome, "_adaptive", stopping)
        with pytest.raises(Interrupted, match="the same command does it again"):
            train_member(job)
    assert not (tmp_path / "run/result.json").exists()
    assert (tmp_path / "run/checkpoints/latest").exists()
    assert "static test perplexity" in (tmp_path / "run/run.log").read_text()
    assert train_member(job) == "finished" and status(job.directory) == "finished"
    assert not (tmp_path / "run/checkpoints/latest").exists()
    assert read_result(job.directory)["figures"] == read_result(adapted)["figures"]


def test_dynamic_evaluation_and_cache_stand_in_columns_of_their_own(adapted: Path) -> None:
    figures = read_result(adapted)["figures"]
    assert set(figures) == {"static", "dynamic", "cache"}
    for column in figures.values():
        assert all(math.isfinite(column[split]["perplexity"]) for split in ("valid", "test"))
    assert figures["static"]["test"]["nats"] != figures["cache"]["test"]["nats"]


@pytest.mark.parametrize("field, value", [("task.eval_window", 5), ("task.eval_window", 500)])
def test_perplexity_depends_on_no_window(whole: Path, corpus: str, field: str, value: int) -> None:
    """The stored best parameters evaluate to the recorded figure whatever the window."""
    config = tiny(corpus, **{field: value})
    sections = config.to_dict()
    task = tasks.make_task(**sections["task"], epochs=3, seed=config.seed)
    model = models.make_model(vocab=task.vocab, outputs=task.outputs, **sections["model"])
    like = loop.compile_run(config, task, model)[0].params
    with Checkpoints(whole / "checkpoints", read_only=True) as checkpoints:
        params, _ = checkpoints.restore_best(like)
    found = evaluate.make_evaluator(task, model, "test")(params)
    assert found["nats"] == pytest.approx(read_result(whole)["figures"]["static"]["test"]["nats"], rel=2e-6)
