"""optuna's study: samplers, pruners, the storage that several machines may share, and trials left behind."""

import json
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import lookup

__all__ = [
    "PRUNERS",
    "SAMPLERS",
    "counted",
    "need_optuna",
    "open_study",
    "requeue",
    "take_up_the_dead",
    "this_process",
]

_log = logging.getLogger(__name__)

TRIES = 3
"""How often in a row a trial's process may die without having saved anything more, before it is given up."""


def need_optuna() -> Any:
    """The module optuna, saying no more than warnings.

    Raises:
      UserError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError("a search needs optuna: pip install -e '.[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _tpe(optuna: Any, seed: int | None) -> Any:
    # The liar: settings that are in training elsewhere are not proposed again.
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


SAMPLERS: dict[str, Callable[[Any, int | None], Any]] = {
    "tpe": _tpe,
    "random": lambda optuna, seed: optuna.samplers.RandomSampler(seed=seed),
    "qmc": lambda optuna, seed: optuna.samplers.QMCSampler(seed=seed, scramble=True),
}
"""What proposes settings: (optuna, seed or None) -> optuna's sampler."""

PRUNERS: dict[str, Callable[[Any], Any]] = {
    "median": lambda optuna: optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1),
    "hyperband": lambda optuna: optuna.pruners.HyperbandPruner(min_resource=1, max_resource="auto"),
    "none": lambda optuna: optuna.pruners.NopPruner(),
}
"""What stops a trial early: (optuna) -> optuna's pruner. The steps that it sees are evaluations, from 1."""


def open_study(storage: str, name: str, direction: str, sampler: str, pruner: str, seed: int | None) -> Any:
    """The study of that name in the storage, made where it is missing.

    Args:
      storage: a URL as SQLAlchemy has it (sqlite:///FILE, on a disk of this machine; a database server for
        several), or the path of a journal file, which machines may share over a network's file system.
      name: of the study.
      direction: "minimize" or "maximize".
      sampler, pruner: names of SAMPLERS and PRUNERS.
      seed: of the sampler; None: a new one each time.

    Raises:
      UserError: the storage cannot be opened, or the study there has another direction.
    """
    optuna = need_optuna()
    make = lookup(SAMPLERS, sampler, "value of --sampler:")
    prune = lookup(PRUNERS, pruner, "value of --pruner:")
    try:
        if "://" in storage:
            where: Any = storage
        else:
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            Path(storage).parent.mkdir(parents=True, exist_ok=True)
            mend_journal(Path(storage))
            where = JournalStorage(JournalFileBackend(storage))
        study = optuna.create_study(
            study_name=name, storage=where, direction=direction, load_if_exists=True, pruner=prune(optuna)
        )
    except UserError:
        raise
    except Exception as error:  # SQLAlchemy's, the system's, JSON's: many kinds with one cause
        text = " ".join(str(error).split())[:200]
        raise UserError(
            f"--storage={storage} cannot be opened: {text}; give the path of a journal file or sqlite:///FILE"
        ) from error
    if study.direction.name.lower() != direction:
        raise UserError(f"the study {name} in {storage} has another direction: give another --study")
    # The same seed again would propose again what the trials that are there were begun with.
    past = len(study.get_trials(deepcopy=False))
    study.sampler = make(optuna, None if seed is None else (seed * 1_000_003 + past) % 2**32)
    return study


def mend_journal(path: Path) -> None:
    """Cuts off the last line of a journal where a kill or a full disk left it incomplete.

    Left in place, it would become part of the line that is written next, and the journal unreadable.

    Raises:
      UserError: another line is damaged, or the file cannot be read or written.
    """
    if not path.exists():
        return
    from optuna.storages.journal import JournalFileSymlinkLock

    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()  # who writes holds it, so that an incomplete line is nobody's work in progress
    try:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), 1):
            if not _is_record(line):
                raise UserError(
                    f"line {number} of the journal {path} is damaged: put back a copy, or give another "
                    "--storage"
                )
        if _is_record(content[len(whole) :]):
            with open(path, "ab") as file:
                file.write(b"\n")
        elif len(whole) < len(content):
            os.truncate(path, len(whole))
            _log.warning("the last line of %s was incomplete, as after a kill: it is left out", path)
    except OSError as error:
        raise UserError(f"the journal {path} cannot be read: {error.strerror}") from error
    finally:
        lock.release()


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def this_process() -> str:
    """Names this process among all of all machines, and of all times since their start."""
    return _named(os.getpid())


def _named(pid: int) -> str:
    began = ""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            began = file.read().rpartition(")")[2].split()[19]
    except OSError:
        pass
    return f"{socket.gethostname()}:{pid}:{began}"


def _lives(process: str) -> bool:
    pid = int(process.split(":")[-2])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _named(pid) == process


def requeue(study: Any, trial: Any, *, tries: int, saved: int = -1) -> None:
    """Ends this attempt at a trial, and puts its settings first in the queue: its run resumes where it saved.

    Args:
      study, trial: optuna's, the trial as it is stored.
      tries: attempts so far that died without having saved anything more.
      saved: the step of the run's newest checkpoint.
    """
    attributes = {"run": trial.user_attrs["run"], "tries": tries, "saved": saved, "goes_on": trial.number}
    params = dict(trial.params)
    if (
        "goes_on" in trial.user_attrs
    ):  # its own settings may not be complete, and the run's are the first one's
        every = study.get_trials(deepcopy=False)
        params = every[trial.user_attrs["goes_on"]].params | params
    study.tell(trial.number, state=need_optuna().trial.TrialState.FAIL)
    study.enqueue_trial(params, user_attrs=attributes)


def take_up_the_dead(study: Any, take_over: bool, saved: Callable[[str], int] = lambda run: -1) -> None:
    """Requeues trials that are recorded as running and whose process is gone.

    Args:
      study: optuna's.
      take_over: those of other machines too, which cannot be checked from here.
      saved: name of a run -> the step of its newest checkpoint.
    """
    optuna = need_optuna()
    others = 0
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        process = trial.user_attrs.get("process", "")
        here = process.rpartition(":")[0].rpartition(":")[0] == socket.gethostname()
        if here and _lives(process):
            continue
        if not here and not take_over:
            others += 1
        elif "run" not in trial.user_attrs:  # killed before it began
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        else:
            step = saved(trial.user_attrs["run"])
            tries = trial.user_attrs.get("tries", 0) + 1 if step <= trial.user_attrs.get("saved", -1) else 1
            if tries >= TRIES:
                _give_up(study, trial, step)
                continue
            requeue(study, trial, tries=tries, saved=step)
            _log.info("trial %d was running when its process died: its run resumes", trial.number)
    if others:
        _log.info("%d trials are running on other machines; if they are not: --take_over", others)


def _give_up(study: Any, trial: Any, step: int) -> None:
    """Ends a trial whose process dies again and again; it does not count among those asked for."""
    where = f"at step {step}" if step >= 0 else "before its first checkpoint"
    reason = f"its process died {TRIES} times {where}"
    optuna = need_optuna()
    optuna.trial.Trial(study, trial._trial_id).set_user_attr("given_up", reason)
    study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    _log.warning("trial %d is given up: %s", trial.number, reason)


def counted(study: Any) -> int:
    """Trials that have ended in training (complete, pruned or failed), and those that are running now.

    An attempt that was stopped or killed is no trial.
    """
    states = need_optuna().trial.TrialState
    ended = (states.COMPLETE, states.PRUNED, states.RUNNING)
    trials = study.get_trials(deepcopy=False)
    return sum(trial.state in ended or "reason" in trial.user_attrs for trial in trials)
