"""Trains the members of a sweep, in one of several modes; what is finished is never trained again."""

import logging
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lstm_jax.errors import UserError
from lstm_jax.registry import check_name, lookup
from lstm_jax.run_directory import RunDirectory
from lstm_jax.sweep.board import Board
from lstm_jax.sweep.define import Sweep
from lstm_jax.sweep.directory import KEEP, SweepPaths, read_failure, status
from lstm_jax.sweep.member import Job, stoppable, train_member
from lstm_jax.sweep.processes import cores, processes

__all__ = ["MODES", "Outcome", "choose", "run"]

_log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What a sweep came to.

    Attributes:
      finished: names of the members with a result.
      failed: name -> why.
    """

    finished: list[str]
    failed: dict[str, str]


def sequential(jobs: Sequence[Job], workers: int, board: Board) -> None:
    """One after the other in this process."""
    for job in jobs:
        board.started(job.name)
        board.ended(job.name, train_member(job))


MODES: dict[str, Callable[[Sequence[Job], int, Board], None]] = {
    "sequential": sequential,
    "processes": processes,
}
"""How the members are trained: (jobs, workers, board) -> when all are done; Interrupted passes through."""


def choose(mode: str, jobs: int, members: int) -> tuple[str, int, str]:
    """(mode, workers, why) for `members` members; "auto" takes processes where there are cores for them.

    Raises:
      UserError: an unknown mode, or a negative number of workers.
    """
    check_name(mode, ["auto", *MODES], "sweep mode")
    if jobs < 0:
        raise UserError(f"--jobs={jobs}: give the number of worker processes, or 0 for one a core")
    most = len(cores())
    workers = min(jobs or most, members)
    if mode == "auto":
        if workers > 1:
            return "processes", workers, f"auto: {members} members to train, {most} cores"
        return "sequential", 1, "auto: one worker is enough"
    return mode, max(1, workers) if mode == "processes" else 1, "as asked"


def run(
    sweep: Sweep,
    directory: str | os.PathLike[str],
    *,
    mode: str = "auto",
    jobs: int = 0,
    keep: str = "best",
    retry: bool = False,
    config_file: str = "",
) -> Outcome:
    """Trains what is left of a sweep.

    A member that has a result.json is left as it is. One that was begun goes on from its checkpoint. One
    that failed by its config or its numbers (a UserError: a loss that is not finite) is left alone unless
    `retry`; one that failed otherwise is tried again.

    Args:
      sweep: what to train.
      directory: of the sweep; made when missing.
      mode: a name of MODES, or "auto".
      jobs: worker processes; 0 is one a core.
      keep: checkpoints of a finished member that stay, a name of KEEP.
      retry: train the failed ones again.
      config_file: for the record.

    Raises:
      UserError: bad arguments; the directory is in use, or holds another sweep.
      Interrupted: Ctrl-C or SIGTERM; the same call goes on.
    """
    check_name(keep, KEEP, "value of --keep:")
    paths = SweepPaths(directory)
    choose(mode, jobs, 1)
    with RunDirectory(paths.root):  # its lock: one process writes a sweep
        paths.guard(sweep, config_file)
        todo = []
        for member in sweep.members:
            where = paths.member(member.name)
            state = status(where)
            failure = read_failure(where) or {}
            if state == "finished" or (
                state == "failed" and not retry and failure.get("kind") == UserError.__name__
            ):
                continue
            todo.append(Job(member.name, member.config.to_dict(), str(where), keep, str(paths.compiled)))
        if todo:
            chosen, workers, why = choose(mode, jobs, len(todo))
            _log.info(
                "%d of %d members to train; mode %s, %d worker(s) (%s); directory %s",
                len(todo), len(sweep.members), chosen, workers, why, paths.root,
            )  # fmt: skip
            with stoppable(), Board(paths, sweep.members, sweep.metric) as board:
                lookup(MODES, chosen, "sweep mode")(todo, workers, board)
        states = {member.name: status(paths.member(member.name)) for member in sweep.members}
        failed = {
            name: (read_failure(paths.member(name)) or {}).get("error", "unknown")
            for name, state in states.items()
            if state == "failed"
        }
        return Outcome([name for name, state in states.items() if state == "finished"], failed)
