"""A search by optuna: its space, its trials as runs, pruned, failed, killed and gone on with."""

import itertools
import json
import os
import signal
import statistics
import threading
from typing import Any

import numpy as np
import pytest
from tiny_sweep import tiny

from lstm_jax.runs.directory import RunPaths
from lstm_jax.runs.interrupts import Interrupted
from lstm_jax.runs.metrics import Recorder, read_metrics, read_result
from lstm_jax.support.errors import UserError
from lstm_jax.sweep.distributions import DISTRIBUTIONS

optuna = pytest.importorskip("optuna", reason="the extra search is not installed")
from lstm_jax.sweep.search import run as running  # noqa: E402
from lstm_jax.sweep.search import study as studies  # noqa: E402
from lstm_jax.sweep.search.plots import (  # noqa: E402
    draw,
    history_figure,
    importances_figure,
    slices_figure,
    table,
)
from lstm_jax.sweep.search.run import SearchPaths, records, search  # noqa: E402
from lstm_jax.sweep.search.space import SUGGESTS, Space, space_of  # noqa: E402

ALL = {
    "optim.learning_rate": {"distribution": "log_uniform", "low": 1e-3, "high": 1.0},
    "optim.clip": {"distribution": "uniform", "low": 0.5, "high": 2.0},
    "objective.ar": {"distribution": "normal", "mean": 0.5, "std": 0.1},
    "task.length": {"distribution": "integer", "low": 2, "high": 5},
    "task.batch": {"distribution": "log_integer", "low": 1, "high": 64},
    "model.hidden": {"distribution": "choice", "values": [(4,), (4, 5)]},
}


def rates(**grid: Any) -> Space:
    definition: dict[str, Any] = {"grid": {"model.cell.forget_bias": ["0", "1"]}}
    definition["random"] = {"count": 1, "optim.learning_rate": ALL["optim.learning_rate"]}
    return space_of(tiny(), definition | grid)


def silent(line: str) -> None:
    """Says nothing."""


def test_every_distribution_is_in_the_space():
    assert SUGGESTS.keys() == DISTRIBUTIONS.keys() == {spec["distribution"] for spec in ALL.values()}
    space = space_of(tiny(), {"random": ALL | {"count": 3, "seed": 0}})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    members = [space.member(study.ask()) for _ in range(300)]
    values = {name: [member.overrides[name] for member in members] for name in ALL}
    assert all(1e-3 <= rate <= 1 for rate in values["optim.learning_rate"])
    # The halves of a log-uniform range: 300 fair coins differ from 150 by more than 35 once in 20,000 times.
    assert abs(sum(rate < 1e-3**0.5 for rate in values["optim.learning_rate"]) - 150) < 35
    assert abs(sum(batch <= 8 for batch in values["task.batch"]) - 150) < 35 + 25  # 8 of its own counts half
    assert set(values["task.length"]) == {2, 3, 4, 5}
    assert set(values["model.hidden"]) == {(4,), (4, 5)}
    normal = statistics.NormalDist(0.5, 0.1)
    drawn = np.sort([normal.cdf(value) for value in values["objective.ar"]])
    # Kolmogorov and Smirnov's distance, over 1.95 / sqrt(n) once in a thousand times.
    assert np.abs(drawn - (np.arange(300) + 0.5) / 300).max() < 1.95 / 300**0.5
    assert members[0].config.model.hidden == values["model.hidden"][0]


@pytest.mark.parametrize(
    "definition, message",
    [
        ({}, "nothing to search over"),
        ({"list": [{"seed": 1}]}, "leave out 'list'"),
        ({"grid": {"optim.learning_rte": [1]}}, "learning_rate"),
        ({"random": {"optim.learning_rate": {"distribution": "uniform", "low": 2, "high": 1}}}, "low=2"),
        ({"grid": {"optim.learning_rate": ["much"]}}, "learning_rate"),
    ],
)
def test_what_is_no_space_is_refused(definition, message):
    with pytest.raises(UserError, match=message):
        space_of(tiny(), definition)


class Third(optuna.pruners.BasePruner):
    """Prunes the trial of number 1, at its first evaluation."""

    def prune(self, study: Any, trial: Any) -> bool:
        return trial.number == 1


def test_trials_are_runs_pruned_failed_and_compared(tmp_path, monkeypatch):
    monkeypatch.setitem(studies.PRUNERS, "stub", lambda optuna: Third())
    lines: list[str] = []
    study = search(rates(), tmp_path, trials=3, metric="nats", pruner="stub", seed=0, say=lines.append)
    paths = SearchPaths(tmp_path)
    found = records(study)
    assert [trial["state"] for trial in found] == ["complete", "pruned", "complete"]
    for trial in found[::2]:
        result = read_result(paths.member(trial["run"]))
        assert trial["value"] == result["figures"]["static"]["valid"]["nats"]
        rows = [row for row in read_metrics(paths.member(trial["run"])) if row["kind"] == "valid"]
        assert list(trial["evaluations"].values()) == [row["nats"] for row in rows] and len(rows) == 2
        trained = result["config"]["optim"]["learning_rate"]
        assert trained == pytest.approx(trial["params"]["optim.learning_rate"], rel=5e-4)  # four digits
    pruned = paths.member("trial-0001")
    stopped = json.loads(RunPaths(pruned).stopped.read_text())
    assert stopped["step"] == 4 and "pruned: after evaluation 1" in stopped["reason"] == found[1]["reason"]
    assert not (pruned / "result.json").exists() and not (pruned / "failure.json").exists()
    assert lines[1].startswith("2/3 trial-0001: pruned") and "best" in lines[2]

    # One more, that diverges: its learning rate is queued.
    study.enqueue_trial({"optim.learning_rate": 1.0, "model.cell.forget_bias": "0"})
    bad = rates()
    bad.fields["optim.learning_rate"] = lambda trial: (
        1e30 * trial.suggest_float("optim.learning_rate", 1e-3, 1.0, log=True)
    )
    study = search(bad, tmp_path, trials=4, metric="nats", pruner="stub", seed=0, say=silent)
    failed = records(study)[3]
    assert failed["state"] == "fail" and "not finite at step" in failed["reason"]

    record = json.loads(paths.search.read_text())
    assert len(record["trials"]) == 4 and record["best"]["value"] == min(t["value"] for t in found[::2])
    text = table(record["trials"], "nats", "minimize")
    assert text.splitlines()[1].split()[0] == record["best"]["run"]
    assert text.splitlines()[-1] == "2 complete, 1 pruned, 1 fail"
    assert [file.name for file in draw(study, "nats", paths.figures)] == ["history.png", "slices.png"]
    assert len(json.loads(paths.record.read_text())["members"]) == 4

    with pytest.raises(UserError, match="holds another search: metric was 'nats'"):
        search(rates(), tmp_path, trials=4, metric="accuracy", say=silent)
    with pytest.raises(UserError, match="metric of the search"):
        search(rates(), tmp_path, trials=4, metric="perplexity", say=silent)


def test_stopped_and_killed_searches_go_on(tmp_path, monkeypatch):
    """Stopped by a signal in its first trial, then found as a kill would have left it."""
    write = Recorder.write

    def interrupting(self: Recorder, step: int, kind: str, **values: Any) -> None:
        write(self, step, kind, **values)
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    def begin(**more: Any) -> Any:
        return search(
            rates(),
            tmp_path,
            trials=2,
            metric="nats",
            sampler="random",
            pruner="none",
            seed=3,
            say=silent,
            **more,
        )

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "write", interrupting)
        with pytest.raises(Interrupted):
            begin()
    storage = str(SearchPaths(tmp_path).journal)
    study = studies.open_study(storage, tmp_path.name, "minimize", "random", "none", 3)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "WAITING"] and studies.counted(study) == 0

    # As a kill leaves it: running, of a process that is no more.
    trial = study.ask()
    dead = studies.this_process().replace(f":{os.getpid()}:", ":4194999:")
    trial.set_user_attr("process", dead)
    trial.suggest_categorical("model.cell.forget_bias", ["0", "1"])
    study = begin()
    found = records(study)
    assert [(t["run"], t["state"]) for t in found] == [("trial-0000", "complete"), ("trial-0003", "complete")]
    assert found[0]["params"] == study.trials[0].params
    assert len(found[0]["evaluations"]) == 2, "the one before the stop is reported again"
    log = (SearchPaths(tmp_path).member("trial-0000") / "run.log").read_text()
    assert "going on from step 6" in log
    assert found[1]["params"]["optim.learning_rate"] != found[0]["params"]["optim.learning_rate"]
    assert begin().trials == study.trials, "there are as many as asked for"


def test_killed_five_times_it_still_ends_with_the_trials_that_were_asked_for(tmp_path):
    """Attempts that died count neither in the budget nor in the record, wherever the kill came."""

    def begin() -> Any:
        return search(rates(), tmp_path, trials=1, metric="nats", sampler="random", seed=3, say=silent)

    storage = str(SearchPaths(tmp_path).journal)
    dead = studies.this_process().replace(f":{os.getpid()}:", ":4194999:")
    run = SearchPaths(tmp_path).member("trial-0000")
    study = studies.open_study(storage, tmp_path.name, "minimize", "random", "median", 3)
    studies.need_optuna()
    for kill in range(5):
        if kill == 2:  # it comes further and is killed again: that is no reason to give it up
            (RunPaths(run).checkpoints / "latest" / "1").mkdir(parents=True)
        studies.take_up_the_dead(
            study, False, lambda name: running._saved(SearchPaths(tmp_path).member(name))
        )
        trial = study.ask()
        trial.set_user_attr("process", dead)
        trial.set_user_attr("run", trial.user_attrs.get("run", f"trial-{trial.number:04d}"))
        if kill == 3:
            trial.suggest_float("optim.learning_rate", 1e-3, 1.0, log=True)
    (RunPaths(run).checkpoints / "latest" / "1").rmdir()
    study = begin()
    found = records(study)
    assert studies.counted(study) == 1 and [trial["state"] for trial in found][-1] == "complete"
    assert len({trial["run"] for trial in found}) == len(found)
    given_up = [trial["reason"] for trial in found if trial["state"] == "fail"]
    assert all("its process died 3 times" in reason for reason in given_up)


@pytest.mark.parametrize("cut, whole", [(1, True), (40, True), (0, True)])
def test_a_journal_that_a_kill_cut_short_is_mended(tmp_path, cut, whole):
    journal = tmp_path / "journal"

    def opened() -> Any:
        return studies.open_study(str(journal), "s", "minimize", "random", "none", 0)

    study = opened()
    study.tell(study.ask(), 1.0)
    content = journal.read_bytes()
    journal.write_bytes(content[: len(content) - cut])
    study = opened()
    study.tell(study.ask(), 2.0)
    assert len(opened().trials) == 2
    lines = content.splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], lines[1][:9], *lines[2:]]))
    with pytest.raises(UserError, match=r"line 2 of the journal .* is damaged"):
        opened()


def test_a_search_s_figures_sort_settings_and_show_the_values_that_were_trained():
    trials = [
        {
            "run": f"trial-{index}", "state": "complete", "value": value, "evaluations": {"1": value},
            "params": {},
            "overrides": {"model.hidden": (hidden,), "optim.name": name, "objective.ar": 0.5, "seed": 1},
        }
        for index, (value, hidden, name) in enumerate([(0.3, 64, "sgd"), (0.2, 8, "adam"), (0.4, 16, "sgd")])
    ]  # fmt: skip
    figure = slices_figure(trials, "nats", "A title")
    hidden, name = figure.axes[:2]
    assert [text.get_text() for text in hidden.get_xticklabels()] == ["8", "16", "64"]
    assert [text.get_text() for text in name.get_xticklabels()] == ["adam", "sgd"]
    assert hidden.get_xlabel() == "hidden" and len(figure.axes) == 2, "what never varied has no panel"
    pruned = {"run": "p", "state": "pruned", "value": None, "evaluations": {"1": 0.9, "2": 0.7}, "params": {}}
    failed = {"run": "f", "state": "fail", "value": None, "evaluations": {}, "params": {}}
    axes = history_figure([trials[0], pruned, failed, *trials[1:]], "nats", high=False).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines["complete"].get_xdata()) == [1, 4, 5]
    assert list(lines["best so far"].get_ydata()) == [0.3, 0.2, 0.2, 0.2]
    assert list(lines["pruned"].get_ydata()) == [0.7] and list(lines["failed"].get_xdata()) == [3]
    importance = importances_figure({"optim.learning_rate": 0.2, "model.hidden": 0.8}, "nats").axes[0]
    assert [text.get_text() for text in importance.get_yticklabels()] == ["learning rate", "hidden"]


def test_an_older_list_of_trials_does_not_replace_a_newer_one(tmp_path, monkeypatch):
    """Two searches record at once: the first has asked the study, the second would overtake its writing."""
    paths, space, asked, written = SearchPaths(tmp_path), rates(), threading.Event(), threading.Event()
    counts = itertools.count(1)

    def asking(study: Any) -> list[dict[str, Any]]:
        count = next(counts)
        asked.set()
        if count == 1:
            written.wait(0.5)  # for the second, which has to wait for us
        return [{"run": f"{number}", "state": "fail"} for number in range(count)]

    def record() -> None:
        running._record(paths, None, space, "nats", {"direction": "minimize"})

    monkeypatch.setattr(running, "records", asking)
    first = threading.Thread(target=record)
    first.start()
    asked.wait()
    record()
    written.set()
    first.join()
    assert len(json.loads(paths.search.read_text())["trials"]) == 2
    paths.search.write_text("{")
    with pytest.raises(UserError, match=r"search\.json cannot be read"):
        search(space, tmp_path, trials=1, metric="nats", say=silent)


def test_trials_of_other_machines_are_left_alone(tmp_path):
    study = studies.open_study(str(tmp_path / "journal"), "s", "minimize", "tpe", "median", None)
    for process in ("elsewhere:1:2", studies.this_process()):
        study.ask().set_user_attr("process", process)
    studies.take_up_the_dead(study, take_over=False)
    assert [trial.state.name for trial in study.trials] == ["RUNNING"] * 2 and studies.counted(study) == 2
    with pytest.raises(UserError, match="has another direction"):
        studies.open_study(str(tmp_path / "journal"), "s", "maximize", "tpe", "median", None)
    with pytest.raises(UserError, match="did you mean 'median'"):
        studies.open_study(str(tmp_path / "journal"), "s", "minimize", "tpe", "medan", None)
    with pytest.raises(UserError, match="cannot be opened"):
        studies.open_study("nosuch://x", "s", "minimize", "tpe", "median", None)


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[search\]'"):
        search(rates(), tmp_path, trials=1)


def test_the_recipe_is_a_space():
    from configs.searches import delayed_recall

    space = space_of(delayed_recall.get_config(), delayed_recall.sweep())
    assert len(space.fields) == 4
