"""Groups of members that are trained at once: those that share a program, split over the workers.

A group that has begun stays together. The arithmetic of a program depends on how many members it has, so a
sweep that was stopped ends bit for bit as one that was not only if each member resumes in its own group.
"""

from collections.abc import Callable, Sequence

from lstm_jax.runs.directory import RunPaths
from lstm_jax.sweep.directory import read_group, status
from lstm_jax.sweep.member import Job

__all__ = ["MOST", "begun_groups", "group_by_program", "one_by_one", "regroup", "split_groups"]

MOST = 64
"""Most members trained at once, unless asked for otherwise: beyond it memory grows and little is gained."""


def one_by_one(jobs: Sequence[Job]) -> list[list[Job]]:
    """Returns a group of one for each member."""
    return [[job] for job in jobs]


def group_by_program(jobs: Sequence[Job]) -> list[list[Job]]:
    """Returns the members by their `program.signature`, in the order of the first member of each."""
    from lstm_jax.training.program import signature  # imports jax

    found: dict[tuple, list[Job]] = {}
    for job in jobs:
        found.setdefault(signature(job.config), []).append(job)
    return list(found.values())


def split_groups(groups: Sequence[Sequence[Job]], workers: int, most: int = MOST) -> list[list[Job]]:
    """Returns the groups split: each worker has a part of each, and no part exceeds `most` members."""
    job_groups = []
    for members in groups:
        parts = max(min(workers, len(members)), -(-len(members) // most))
        size = -(-len(members) // parts)
        job_groups += [list(members[first : first + size]) for first in range(0, len(members), size)]
    return job_groups


def begun_groups(every: Sequence[Job]) -> list[list[Job]]:
    """Returns the groups in which members have begun, as their directories record them.

    A member that began on its own is a group of one.
    """
    jobs = {job.name: job for job in every}
    begun = [job.name for job in every if RunPaths(job.directory).config.exists()]
    recorded = [(name, read_group(jobs[name].directory)) for name in begun]
    group_of: dict[str, list[str]] = {}
    for name, names in recorded:
        if name in names and set(names) <= set(jobs) and not set(names) & set(group_of):
            group_of |= dict.fromkeys(names, names)
    groups = {tuple(group_of.get(name, [name])): None for name in begun}
    return [[jobs[name] for name in names] for names in groups]


def regroup(
    every: Sequence[Job],
    due: Sequence[Job],
    split: Callable[[Sequence[Job]], list[list[Job]]],
) -> list[list[Job]]:
    """Returns the groups to train: those that have begun as they are, the other members as `split` has them.

    Args:
      every: all members of the sweep.
      due: those to train. A begun group of which another process still writes a member is left out.
      split: members to groups. It gets all of them, so that what has ended does not change the other
        groups.
    """
    again = [job for job in due if status(job.directory) == "failed"]  # on their own: their group went on
    left = {job.name for job in due} - {job.name for job in again}
    begun = [group for group in begun_groups(every) if left & {job.name for job in group}]
    left -= {job.name for group in begun for job in group}
    ended = ("finished", "failed")
    names = {job.name for job in due}
    begun = [group for group in begun if all(j.name in names or status(j.directory) in ended for j in group)]
    fresh = [[job for job in group if job.name in left] for group in split(every)]
    return [*begun, *([job] for job in again), *filter(None, fresh)]
