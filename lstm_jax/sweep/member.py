"""Members of a sweep, trained in this process: their output goes to their logs, failures to their files."""

import contextlib
import functools
import gc
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from lstm_jax.runs.interrupts import Interrupted, Stopped
from lstm_jax.support.errors import DirectoryInUse, UserError
from lstm_jax.sweep.directory import drop_checkpoints, record_failure, record_group, status

__all__ = ["Job", "Report", "share_compiles", "stoppable", "train_member", "train_members"]

_log = logging.getLogger(__name__)

Report = Callable[[str, str], None]
"""Called with the name of a member and its status when it has ended: "finished" or "failed", or "unfinished"
where another process is writing it."""
SAVE_INTERVAL = 30.0
"""Least seconds between the saves of members that train together: each save writes every member."""


class Job(NamedTuple):
    """A member to train, as it is sent to where that is done.

    Attributes:
      name: of the member.
      config: the run's config as plain nested dicts.
      directory: of the run.
      keep: which checkpoints stay when it is finished, see `directory.KEEP`.
      compiled: directory of the programs that the members share.
    """

    name: str
    config: dict[str, Any]
    directory: str
    keep: str
    compiled: str


@contextlib.contextmanager
def _into(log: Path) -> Iterator[None]:
    """What this process prints and logs goes to the end of `log` while the block runs."""
    root, ours = logging.getLogger(), logging.getLogger("lstm_jax")
    handlers, level = root.handlers, ours.level
    with open(log, "a", encoding="utf-8") as file:
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(message)s"))
        root.handlers = [handler]
        ours.setLevel(logging.INFO)
        try:
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                yield
        finally:
            root.handlers = handlers
            ours.setLevel(level)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM and Ctrl-C raise Interrupted at once, but where a run catches them to save first.

    Outside the main thread nothing is installed.
    """

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(signum, "the sweep stopped; the same command resumes it")

    previous: dict[int, Any] = {}
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError):
                previous[number] = signal.signal(number, stop)
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def share_compiles(directory: str | os.PathLike[str]) -> None:
    """Keeps compiled programs in `directory`, unless a place is set already: members differ little."""
    import jax

    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def train_member(job: Job, on_evaluation: Callable[[int, Mapping[str, float]], None] | None = None) -> str:
    """Trains the member, or resumes it.

    Args:
      job: the member.
      on_evaluation: see `training.loop.run`.

    Returns:
      "finished"; "failed" with the reason in its failure.json; "stopped", with the reason of `on_evaluation`
      in its stopped.json.

    Raises:
      Interrupted: as `training.loop.run`; what was done is saved.
      DirectoryInUse: another process is writing the run, which is no failure of the member.
      UserError: not even the failure could be written.
    """
    from lstm_jax.training import loop

    share_compiles(job.compiled)
    directory = Path(job.directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "group.json").unlink(missing_ok=True)
    ending = "finished"
    with _into(directory / "run.log"):
        try:
            loop.run(ConfigDict(job.config), job.directory, on_evaluation=on_evaluation, fewer_devices=True)
        except (Interrupted, DirectoryInUse):
            raise
        except Stopped:
            ending = "stopped"
        except Exception as error:
            if not isinstance(error, UserError):
                _log.exception("%s failed", job.name)
            record_failure(directory, error)
            print(f"error: {error}")
            return "failed"
        finally:
            gc.collect()  # the compiled programs of this run hang in cycles
    (directory / "failure.json").unlink(missing_ok=True)
    drop_checkpoints(directory, job.keep)
    return ending


def _train_alone(job: Job) -> str:
    """Trains one member, unless it has finished; returns its status."""
    if status(job.directory) == "finished":
        drop_checkpoints(job.directory, job.keep)
        return "finished"
    try:
        return train_member(job)
    except DirectoryInUse:
        return "unfinished"


def train_members(jobs: Sequence[Job], report: Report, member_devices: int = 0) -> None:
    """Trains the members of one `program.signature` at once, or resumes them; those that have ended stay so.

    Where that cannot be done (one of them has a bad config, or they do not fit into memory), each half
    is tried, down to one at a time. A member whose numbers are not finite stops no other.

    Args:
      jobs: one a member; where the group is resumed, all that it began with, those that have ended too.
      report: called for each member when it has ended.
      member_devices: see `program.together`.

    Raises:
      Interrupted: as `train_member`.
      UserError: not even a failure could be written.
    """
    if len(jobs) == 1:
        report(jobs[0].name, _train_alone(jobs[0]))
        return
    absent = set()
    for index, job in enumerate(jobs):
        if (state := status(job.directory)) in ("finished", "failed"):
            absent.add(index)
            if state == "finished":  # a kill may have come before this
                drop_checkpoints(job.directory, job.keep)
            report(job.name, state)
    if len(absent) == len(jobs):
        return
    from lstm_jax.training import loop

    share_compiles(jobs[0].compiled)
    for index, job in enumerate(jobs):
        if index not in absent:
            record_group(job.directory, [each.name for each in jobs])
    reported = {jobs[index].name for index in absent}

    def ended(index: int, outcome: dict[str, Any] | Exception) -> None:
        job = jobs[index]
        if isinstance(outcome, Exception):
            record_failure(job.directory, outcome)
            with _into(Path(job.directory) / "run.log"):
                print(f"error: {outcome}")
        else:
            (Path(job.directory) / "failure.json").unlink(missing_ok=True)
            drop_checkpoints(job.directory, job.keep)  # now: the others may be stopped yet
        reported.add(job.name)
        report(job.name, "failed" if isinstance(outcome, Exception) else "finished")

    reason = ""
    try:
        loop.run_together(
            [ConfigDict(job.config) for job in jobs],
            [job.directory for job in jobs],
            log_contexts=[functools.partial(_into, Path(job.directory) / "run.log") for job in jobs],
            ended=ended,
            member_devices=member_devices,
            fewer_devices=True,
            save_interval=SAVE_INTERVAL,
            absent=absent,
        )
    except Interrupted:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
    finally:
        gc.collect()
    if not reason:
        return
    left = [job for job in jobs if job.name not in reported]
    _log.warning("%d members cannot be trained together: %s; trying half of them", len(left), reason[:300])
    middle = max(1, len(left) // 2)  # those that have ended are no part of the halves' programs
    for half in filter(None, (left[:middle], left[middle:])):
        train_members(half, report, member_devices)
