"""Trains the members of a sweep, in one of several modes; what is finished is never trained again."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from lstm_jax.runs.directory import RunDirectory
from lstm_jax.support.errors import DirectoryInUse, UserError
from lstm_jax.support.registry import check_name, lookup
from lstm_jax.sweep.dashboard import Dashboard
from lstm_jax.sweep.define import Sweep
from lstm_jax.sweep.directory import KEEP, SweepPaths, read_failure, status, still_in_use
from lstm_jax.sweep.job_groups import (
    MOST,
    begun_groups,
    group_by_program,
    one_by_one,
    regroup,
    split_groups,
)
from lstm_jax.sweep.measure import choose_faster
from lstm_jax.sweep.member import Job, stoppable, train_members
from lstm_jax.sweep.metric import check_metric
from lstm_jax.sweep.on_ray import train_on_ray
from lstm_jax.sweep.processes import accelerators, cores, processes

__all__ = ["MODES", "Mode", "Outcome", "Schedule", "choose", "run"]

_log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """The outcome of a sweep.

    Attributes:
      finished: names of the members with a result.
      failed: name -> why.
    """

    finished: list[str]
    failed: dict[str, str]


def in_process(job_groups: Sequence[Sequence[Job]], schedule: "Schedule", dashboard: Dashboard) -> None:
    """Trains one group after the other in this process."""
    for job_group in job_groups:
        for job in job_group:
            dashboard.started(job.name)
        train_members(job_group, dashboard.ended, schedule.member_devices)


def in_workers(job_groups: Sequence[Sequence[Job]], schedule: "Schedule", dashboard: Dashboard) -> None:
    """Trains the groups in worker processes, or in this one where there is only one worker."""
    if schedule.workers == 1:
        in_process(job_groups, schedule, dashboard)
    else:
        processes(job_groups, schedule.workers, dashboard)


def _in_processes(job_groups: Sequence[Sequence[Job]], schedule: "Schedule", dashboard: Dashboard) -> None:
    processes(job_groups, schedule.workers, dashboard)


def _on_ray(job_groups: Sequence[Sequence[Job]], schedule: "Schedule", dashboard: Dashboard) -> None:
    train_on_ray(
        job_groups,
        dashboard,
        address=schedule.address,
        workers=schedule.workers,
        cpus=schedule.task_cpus,
        gpus=schedule.task_gpus,
    )


class Schedule(NamedTuple):
    """How the members are trained.

    Attributes:
      mode: a name of MODES.
      workers: processes; 1: this one.
      together: the most members trained at once; 0: as the mode has it.
      member_devices: devices along the axis of members, see `program.together`; 0: as many as fit.
      address, task_cpus, task_gpus: of the mode "ray", see `on_ray.train_on_ray`.
      why: for the log.
    """

    mode: str
    workers: int = 1
    together: int = 0
    member_devices: int = 0
    address: str = ""
    task_cpus: float = 1.0
    task_gpus: float = -1.0
    why: str = "as asked"


class Mode(NamedTuple):
    """A way to train members.

    Attributes:
      train: (job_groups, schedule, dashboard) -> when all have ended; Interrupted passes through.
      most: members of a group that share a program, where no other number is asked for; 1: one at a time,
        unless more are asked for where `may_share`.
      workers: the most worker processes for (jobs asked for, cores), before there are fewer units.
    """

    train: Callable[[Sequence[Sequence[Job]], Schedule, Dashboard], None]
    most: int
    workers: Callable[[int, int], int]
    may_share: bool = False


MODES: dict[str, Mode] = {
    "sequential": Mode(in_process, 1, lambda jobs, cores: 1),
    "processes": Mode(_in_processes, 1, lambda jobs, cores: jobs or cores),
    "vmap": Mode(in_workers, MOST, lambda jobs, cores: jobs or 1, may_share=True),
    "ray": Mode(_on_ray, 1, lambda jobs, cores: jobs or cores, may_share=True),
}
"""How the members are trained."""


def choose(
    jobs: Sequence[Job], schedule: Schedule, asked: int, every: Sequence[Job] = ()
) -> tuple[Schedule, list[list[Job]]]:
    """Returns the schedule for these jobs and the groups to train. "auto" measures where there is a choice.

    What cannot be measured is trained one member at a time. A sweep that has begun is not measured again: its
    members resume as they began, on their own or in their groups.

    Args:
      jobs: what is left to train.
      schedule: as asked; its workers are not read.
      asked: worker processes asked for, 0: as many as the mode wants.
      every: all members of the sweep; () where `jobs` are all.
    """
    every = every or jobs
    if schedule.mode != "auto":
        mode = MODES[schedule.mode]
        most = schedule.together or mode.most if mode.may_share else 1
        workers = max(1, mode.workers(asked, len(cores())))
        job_groups = one_by_one(jobs)
        if most > 1:
            share = min(workers, len(every))
            job_groups = regroup(every, jobs, lambda some: split_groups(group_by_program(some), share, most))
        return schedule._replace(workers=max(1, min(workers, len(job_groups)))), job_groups
    most_workers = 1 if accelerators() else asked or len(cores())
    if begun := begun_groups(every):
        return _as_begun(jobs, schedule, every, begun, most_workers)
    return _measured(jobs, schedule, min(most_workers, len(jobs)))


def _alone(workers: int) -> str:
    """Returns the mode that trains members one at a time."""
    return "processes" if workers > 1 else "sequential"


def _as_begun(
    jobs: Sequence[Job],
    schedule: Schedule,
    every: Sequence[Job],
    begun: Sequence[Sequence[Job]],
    workers: int,
) -> tuple[Schedule, list[list[Job]]]:
    """Returns schedule and groups of a sweep in mode "auto" that has begun; nothing is measured again."""
    most, why = max(map(len, begun)), "auto: as the sweep began"
    if most == 1:
        workers = min(workers, len(jobs))
        return schedule._replace(mode=_alone(workers), workers=workers, why=why), one_by_one(jobs)
    share = min(workers, len(every))
    job_groups = regroup(every, jobs, lambda some: split_groups(group_by_program(some), share, most))
    workers = max(1, min(workers, len(job_groups)))
    return schedule._replace(mode="vmap", workers=workers, why=why), job_groups


def _measured(jobs: Sequence[Job], schedule: Schedule, workers: int) -> tuple[Schedule, list[list[Job]]]:
    """Returns schedule and groups of a new sweep in mode "auto", by what is measured to be faster."""
    alone, schedule = _alone(workers), schedule._replace(workers=workers)

    def one_at_a_time(why: str) -> tuple[Schedule, list[list[Job]]]:
        return schedule._replace(mode=alone, why=f"auto: {why}"), one_by_one(jobs)

    groups = group_by_program(jobs)
    largest = max(groups, key=len)
    if len(largest) == 1:
        return one_at_a_time("no two members can share a program")
    if max(_windows(job) for job in largest) * len(largest) < WORTH_MEASURING:
        return one_at_a_time("too little to train to be worth measuring")
    most = schedule.together or MOST
    shares = split_groups([largest], workers, most)[:workers]
    mine = cores()
    try:
        pace = choose_faster(shares, [mine[k::workers] or mine for k in range(workers)])
    except UserError as error:
        return one_at_a_time(f"without a measurement, {error}")
    if pace.together <= pace.one_by_one:
        return one_at_a_time(str(pace))
    if pace.members < min(map(len, shares)):  # more do not fit, or cannot be trained together
        most = pace.members
    return schedule._replace(mode="vmap", why=f"auto: {pace}"), split_groups(groups, workers, most)


def _windows(job: Job) -> int:
    """Returns about how many windows a run has; 0 where that is unknown."""
    return job.config["train"]["epochs"] * job.config["task"].get("epoch_steps", WORTH_MEASURING)


WORTH_MEASURING = 5_000
"""Windows of a group in all under which "auto" does not measure: two compiles would take longer."""
WAIT = 60.0
"""Seconds that members in the hands of another process are waited for, see `directory.still_in_use`."""


def run(
    sweep: Sweep,
    directory: str | os.PathLike[str],
    *,
    mode: str = "auto",
    jobs: int = 0,
    together: int | None = None,
    member_devices: int = 0,
    address: str = "",
    task_cpus: float = 1.0,
    task_gpus: float = -1.0,
    keep: str = "best",
    retry: bool = False,
    config_file: str = "",
) -> Outcome:
    """Trains what is left of a sweep.

    A member that has a result.json is left as it is. One that was begun resumes from its checkpoint. One
    that failed by its config or its numbers (a UserError: a loss that is not finite) is left alone unless
    `retry`; one that failed otherwise is tried again. One that another process is writing, as the workers of
    a sweep that was killed do for a moment, is waited for.

    Args:
      sweep: what to train.
      directory: of the sweep; made when missing.
      mode: a name of MODES, or "auto", which measures and takes the faster.
      jobs: worker processes; 0 is one a core, and for "vmap" this process alone. For "ray" the CPUs of a
        cluster of our own.
      together: the most members that are trained at once; None: as the mode has it, for "vmap" `MOST`, for
        "ray" 1.
      member_devices: devices along the axis of members, see `program.together`; 0: as many as fit.
      address, task_cpus, task_gpus: for "ray", see `on_ray.train_on_ray`.
      keep: checkpoints of a finished member that stay, a name of KEEP.
      retry: train the failed ones again.
      config_file: for the record.

    Raises:
      DirectoryInUse: the directory is in use, or, when all else is done, members are still.
      UserError: bad arguments; the runs will not have the metric; the directory holds another sweep.
      Interrupted: Ctrl-C or SIGTERM; the same call resumes.
    """
    check_name(keep, KEEP, "value of --keep:")
    check_name(mode, ["auto", *MODES], "sweep mode")
    for name, value, least in (
        ("jobs", jobs, 0),
        ("together", 1 if together is None else together, 1),
        ("member_devices", member_devices, 0),
    ):
        if value < least:
            raise UserError(f"--{name}={value} is not possible: it must be {least} or more")
    if address and mode != "ray":
        raise UserError(f"--address={address} goes with --mode=ray: add that, or leave it out")
    if not task_cpus > 0:
        raise UserError(f"--task_cpus={task_cpus:g} is not possible: it must be more than 0")
    check_metric(sweep)
    asked = Schedule(
        mode, together=together or 0, member_devices=member_devices, address=address, task_cpus=task_cpus,
        task_gpus=task_gpus,
    )  # fmt: skip
    paths = SweepPaths(directory)
    with RunDirectory(paths.root):  # its lock: one process writes a sweep
        paths.guard(sweep, config_file, keep)
        with stoppable():
            _train(sweep, paths, asked, jobs, keep, retry)
        return _outcome(sweep, paths)


def _train(sweep: Sweep, paths: SweepPaths, asked: Schedule, workers: int, keep: str, retry: bool) -> None:
    """Trains the members that are due, once no other process writes them."""
    every = [
        Job(m.name, m.config.to_dict(), str(paths.member(m.name)), keep, str(paths.compiled))
        for m in sweep.members
    ]

    def due() -> list[Job]:
        return [job for job in every if _to_train(Path(job.directory), retry)]

    busy = still_in_use([Path(job.directory) for job in due()], WAIT)
    todo = [job for job in due() if Path(job.directory) not in busy]  # some may be finished by now
    if not todo:
        return
    schedule, job_groups = choose(todo, asked, workers, every)
    if not job_groups:  # their groups are being written
        return
    _log.info(
        "%d of %d members to train; mode %s, %d worker(s), %s (%s); directory %s",
        len(todo), len(every), schedule.mode, schedule.workers, _in_groups(job_groups), schedule.why,
        paths.root,
    )  # fmt: skip
    with Dashboard(paths, sweep.members, sweep.metric) as dashboard:
        lookup(MODES, schedule.mode, "sweep mode").train(job_groups, schedule, dashboard)


def _outcome(sweep: Sweep, paths: SweepPaths) -> Outcome:
    """Returns which members finished and which failed.

    Raises:
      DirectoryInUse: some have not ended, as another process is writing them.
    """
    states = {member.name: status(paths.member(member.name)) for member in sweep.members}
    left = [name for name, state in states.items() if state in ("unfinished", "new")]
    if left:
        raise DirectoryInUse(
            f"{len(left)} member(s) are being written by another process, {left[0]} for one; the others "
            "are done: wait for it or stop it, then the same command resumes them"
        )
    failed = {
        name: (read_failure(paths.member(name)) or {}).get("error", "unknown")
        for name, state in states.items()
        if state == "failed"
    }
    return Outcome([name for name, state in states.items() if state == "finished"], failed)


def _to_train(where: Path, retry: bool) -> bool:
    """Whether the member is neither finished nor failed for good."""
    state = status(where)
    if state == "failed" and not retry:
        return (read_failure(where) or {}).get("kind") != UserError.__name__
    return state != "finished"


def _in_groups(job_groups: Sequence[Sequence[Job]]) -> str:
    sizes = [len(job_group) for job_group in job_groups]
    if max(sizes) == 1:
        return "one at a time"
    return (
        f"in {len(job_groups)} groups of {min(sizes)} to {max(sizes)}"
        if len(job_groups) > 1
        else "all at once"
    )
