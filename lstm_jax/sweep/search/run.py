"""The search: one run after the other, each a full run directory, until there are as many as asked for.

The directory of a search is one of a sweep too (sweep.json, members/NAME/), so that what compares the members
of a sweep serves for its trials. Beside that it has search.json, the trials as optuna knows them.
"""

import contextlib
import fcntl
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lstm_jax import tasks
from lstm_jax.runs.directory import RunPaths, config_differences, write_json
from lstm_jax.runs.interrupts import Interrupted, Stopped
from lstm_jax.runs.metrics import read_metrics, read_result
from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import check_name
from lstm_jax.sweep.define import Member, Sweep, expand
from lstm_jax.sweep.directory import KEEP, SweepPaths, read_failure
from lstm_jax.sweep.member import Job, stoppable, train_member
from lstm_jax.sweep.search.space import Space
from lstm_jax.sweep.search.study import (
    counted,
    need_optuna,
    open_study,
    requeue,
    take_up_the_dead,
    this_process,
)
from lstm_jax.sweep.summary import choose_metric, figure_of
from lstm_jax.tasks.scores import best_high

__all__ = ["SearchPaths", "default_metric", "records", "search"]

_HIDDEN = ("process", "tries", "saved", "goes_on")
"""Attributes of a trial that no record shows."""


class SearchPaths(SweepPaths):
    """Where the parts of a search lie; makes nothing."""

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__(path)
        self.search = self.root / "search.json"
        self.journal = self.root / "journal.log"

    def guard_search(self, space: Space, metric: str) -> None:
        """Stores the space of a new search, or checks that a resumed one is the same.

        Raises:
          UserError: the directory holds something else; the difference is named.
        """
        new = _definition(space, metric)
        if self.search.exists():
            try:
                old = json.loads(self.search.read_text(encoding="utf-8"))
                before = {name: old[name] for name in new}
            except (OSError, ValueError, LookupError, TypeError) as error:
                raise UserError(
                    f"{self.search} cannot be read ({error}): put back a copy, or choose another --workdir"
                ) from error
            found = config_differences(before, new)
            found = {name: pair for name, pair in found.items() if name != "base.task.data_dir"}
            if found:
                name, (was, now) = next(iter(found.items()))
                raise UserError(
                    f"{self.root} holds another search: {name} was {was!r}, now {now!r}; give the same to "
                    "resume, or choose another --workdir"
                )
            return
        if self.record.exists() or RunPaths(self.root).config.exists():
            raise UserError(f"{self.root} holds a sweep or a run, not a search: choose another --workdir")
        self.members.mkdir(parents=True, exist_ok=True)
        write_json(self.search, new | {"trials": []})

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Waits until no other search writes the files of this directory, and keeps others waiting meanwhile.

        Where the file system has no locks, as some network mounts have none, nobody waits.

        Raises:
          UserError: the directory cannot be made or written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            file = open(self.root / ".search.lock", "a", encoding="utf-8")  # noqa: SIM115  closed below
        except OSError as error:
            raise UserError(
                f"cannot use {self.root} as the workdir: {error.strerror}; choose another directory"
            ) from error
        with file:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _definition(space: Space, metric: str) -> dict[str, Any]:
    """Returns what search.json stores of a search."""
    found = {"base": space.base.to_dict(), "space": space.plain, "metric": metric}
    return json.loads(json.dumps(found, default=list))


def default_metric(space: Space, wanted: str = "") -> str:
    """The metric on valid that is sought: `wanted`, the space's, or perplexity, accuracy, the task's first.

    Raises:
      UserError: the task has no such metric, or cannot be made.
    """
    section = space.base.to_dict()["task"]
    task = tasks.make_task(**section, epochs=space.base.train.epochs, seed=space.base.seed)
    loss = next(iter(task.chance))
    names = tasks.figure_names(task)
    return choose_metric(names, loss, wanted or space.metric, "metric of the search:")


def search(
    space: Space,
    directory: str | os.PathLike[str],
    *,
    trials: int,
    metric: str = "",
    sampler: str = "tpe",
    pruner: str = "median",
    storage: str = "",
    study_name: str = "",
    seed: int | None = None,
    keep: str = "best",
    take_over: bool = False,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> Any:
    """Trains trials until the study has so many, those of other machines among them.

    What a trial is worth is its metric on valid, by its best checkpoint; after each evaluation the pruner is
    asked, and a run that it ends has its reason in stopped.json. A run that fails (a loss that is not
    finite, settings that are no model) is a failed trial. Started again, a search resumes: finished trials
    stand, and a run that was in training resumes from its checkpoint. An attempt that was stopped or killed
    is no trial: it counts neither among `trials` nor in the record.

    Args:
      space: what to choose from.
      directory: of the search, made when missing; each machine has its own, or all share one.
      trials: how many the study is to have.
      metric: see `default_metric`.
      sampler, pruner, storage, study_name, seed: see `study.open_study`; the storage is a journal in the
        directory where none is given, and the study's name that of the directory.
      keep: checkpoints of a finished trial that stay, a name of `sweep.directory.KEEP`.
      take_over: see `study.take_up_the_dead`.
      say: called with a line for each trial.

    Returns:
      optuna's study.

    Raises:
      UserError: bad arguments; the directory or the study holds another search.
      Interrupted: Ctrl-C or SIGTERM; the same call resumes.
    """
    check_name(keep, KEEP, "value of --keep:")
    if trials < 1:
        raise UserError(f"--trials={trials}: it must be 1 or more")
    paths = SearchPaths(directory)
    metric = default_metric(space, metric)
    direction = "maximize" if best_high(metric) else "minimize"
    with paths.alone():
        paths.guard_search(space, metric)
    name = study_name or paths.root.name
    study = open_study(storage or str(paths.journal), name, direction, sampler, pruner, seed)
    about = {
        "study": name,
        "storage": storage or str(paths.journal),
        "direction": direction,
        "sampler": sampler,
        "pruner": pruner,
        "command": shlex.join(["python", *sys.argv]),
    }
    take_up_the_dead(study, take_over, lambda run: _saved(paths.member(run)))
    with stoppable():
        while (count := counted(study)) < trials:
            trial = study.ask()
            run = trial.user_attrs.get("run", f"trial-{trial.number:04d}")
            for key, value in (("process", this_process()), ("run", run)):
                trial.set_user_attr(key, value)
            try:
                line = _trial(study, trial, space, paths, metric, keep)
            except Interrupted:
                requeue(study, trial, tries=0)
                raise
            say(f"{count + 1}/{trials} {run}: {line}")
            _record(paths, study, space, metric, about)
    _record(paths, study, space, metric, about)
    return study


def _trial(study: Any, trial: Any, space: Space, paths: SearchPaths, metric: str, keep: str) -> str:
    """Trains a trial and reports its outcome to the study; returns a line about it."""
    optuna = need_optuna()
    failed = optuna.trial.TrialState.FAIL
    run = trial.user_attrs["run"]
    try:
        member = space.member(trial)
    except ValueError as error:  # optuna's word for a space that changed
        study.tell(trial, state=failed)
        raise UserError(f"the study was begun with another space: {error}; give another --study") from error
    except UserError as error:
        trial.set_user_attr("reason", str(error))
        study.tell(trial, state=failed)
        return f"failed: {error}"
    trial.set_user_attr("overrides", member.overrides)
    where = paths.member(run)
    evaluations = 0

    def judge(figures: Mapping[str, float]) -> None:
        nonlocal evaluations
        evaluations += 1
        trial.report(float(figures[metric]), evaluations)

    def on_evaluation(step: int, figures: Mapping[str, float]) -> None:
        judge(figures)
        if trial.should_prune():
            raise Stopped(
                f"pruned: after evaluation {evaluations}, with valid {metric} {figures[metric]:.4g}, other "
                "trials had come further"
            )

    if (where / "metrics.jsonl").exists():  # what an earlier trial of this run has reported
        for row in read_metrics(where):
            if row["kind"] == "valid" and row["step"] <= _saved(where):
                judge(row)
    job = Job(run, member.config.to_dict(), str(where), keep, str(paths.compiled))
    state = train_member(job, on_evaluation)
    if state == "failed":
        reason = (read_failure(where) or {}).get("error", "see its run.log")
        trial.set_user_attr("reason", reason)
        study.tell(trial, state=failed)
        return f"failed: {reason}"
    if state == "stopped":
        reason = _reason_of(RunPaths(where).stopped)
        trial.set_user_attr("reason", reason)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return reason
    result = read_result(where)
    value = figure_of(result, metric, "valid")
    if value != value:
        trial.set_user_attr("reason", f"valid {metric} is no number")
        study.tell(trial, state=failed)
        return f"failed: valid {metric} is no number"
    trial.set_user_attr("test", figure_of(result, metric, "test"))
    study.tell(trial, value)
    best = study.best_trial
    mark = (
        "the best so far"
        if best.number == trial.number
        else f"best {best.value:.4g}, {best.user_attrs['run']}"
    )
    return f"valid {metric} {value:.4g} ({mark})"


def _reason_of(stopped: Path) -> str:
    try:
        return str(json.loads(stopped.read_text(encoding="utf-8"))["reason"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{stopped} cannot be read ({error}): start the search again") from error


def _saved(where: Path) -> int:
    """The last evaluated step that the newest checkpoint can know of, by its name."""
    latest = RunPaths(where).checkpoints / "latest"
    names = [int(entry.name) for entry in latest.iterdir() if entry.name.isdigit()] if latest.is_dir() else []
    return max(names, default=-1)


def records(study: Any) -> list[dict[str, Any]]:
    """Returns the trials in the order in which they began: {"run", "state", "value", "params", ...}.

    A trial that was stopped or killed and resumed is one row, with number and outcome of its last attempt.
    """
    trials = study.get_trials(deepcopy=False)
    resumed = {trial.user_attrs.get("goes_on") for trial in trials}
    first: dict[int, int] = {}
    params: dict[int, dict[str, Any]] = {}
    attributes: dict[int, dict[str, Any]] = {}
    for trial in trials:  # each attempt knows what the ones before it knew
        number, before = trial.number, trial.user_attrs.get("goes_on")
        first[number] = first.get(before, number)
        params[number] = params.get(before, {}) | trial.params
        attributes[number] = attributes.get(before, {}) | trial.user_attrs
    found = []
    for trial in sorted(trials, key=lambda trial: first[trial.number]):
        known = attributes[trial.number]
        if trial.number in resumed or ("run" not in known and trial.state.name == "FAIL"):
            continue
        extra = {name: value for name, value in known.items() if name not in _HIDDEN}
        if "given_up" in extra:
            extra["reason"] = extra.pop("given_up")
        found.append(
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.value if trial.state.name == "COMPLETE" else None,
                "evaluations": {str(step): value for step, value in trial.intermediate_values.items()},
                "params": params[trial.number],
                "host": known.get("process", "").partition(":")[0],
                **extra,
            }
        )
    return found


def _record(paths: SearchPaths, study: Any, space: Space, metric: str, about: Mapping[str, Any]) -> None:
    """Writes search.json, and sweep.json for what compares sweeps: the trials that were trained here.

    The study is asked and the files are written in one turn, so that of several searches in a directory none
    puts an older list of trials in the place of a newer one.
    """
    with paths.alone():
        _write(paths, records(study), space, metric, about)


def _write(
    paths: SearchPaths, found: list[dict[str, Any]], space: Space, metric: str, about: Mapping[str, Any]
) -> None:
    complete = [trial for trial in found if trial["state"] == "complete"]
    sign = -1 if about["direction"] == "maximize" else 1
    best = min(complete, key=lambda trial: sign * trial["value"], default=None)
    write_json(paths.search, _definition(space, metric) | {**about, "best": best, "trials": found})
    members = {
        trial["run"]: trial["overrides"]
        for trial in found
        if "overrides" in trial and RunPaths(paths.member(trial["run"])).config.exists()
    }
    if members:
        made = [_member(space, name, overrides) for name, overrides in members.items()]
        paths.guard(Sweep(space.base, tuple(made), "", "", metric))


def _member(space: Space, name: str, overrides: Mapping[str, Any]) -> Member:
    values = {field: value for field, value in overrides.items() if field != "seed"}
    return expand(space.base, {"list": [values], "seeds": [space.base.seed]}).members[0]._replace(name=name)
