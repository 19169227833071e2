"""What is trained at once: the members of a sweep that can share a program, shared out over the workers."""

import os
from collections.abc import Sequence
from pathlib import Path

from lstm_jax.runs.directory import RunPaths
from lstm_jax.sweep.member import Job

__all__ = ["MOST", "group_by_program", "one_by_one", "split_groups"]

MOST = 64
"""Members trained at once, unless asked for otherwise: beyond, memory grows and little is won."""


def one_by_one(jobs: Sequence[Job]) -> list[list[Job]]:
    """Each member by itself."""
    return [[job] for job in jobs]


def group_by_program(jobs: Sequence[Job]) -> list[list[Job]]:
    """The members by what they must have in common to be trained at once, in the order of their first ones.

    That is a `program.signature`, and the step at which they stopped.
    """
    from lstm_jax.training.program import signature  # takes jax along

    found: dict[tuple, list[Job]] = {}
    for job in jobs:
        found.setdefault((signature(job.config), _saved_step(job.directory)), []).append(job)
    return list(found.values())


def split_groups(groups: Sequence[Sequence[Job]], workers: int, most: int = MOST) -> list[list[Job]]:
    """The groups cut so that every worker has a part of each, and none has more than `most` members."""
    job_groups = []
    for members in groups:
        parts = max(min(workers, len(members)), -(-len(members) // most))
        size = -(-len(members) // parts)
        job_groups += [list(members[first : first + size]) for first in range(0, len(members), size)]
    return job_groups


def _saved_step(directory: str | os.PathLike[str]) -> int:
    """The step of the newest checkpoint as its name tells it, -1 where there is none; opens nothing."""
    latest = Path(RunPaths(directory).checkpoints) / "latest"
    names = [entry.name for entry in latest.iterdir()] if latest.is_dir() else []
    return max((int(name) for name in names if name.isdigit()), default=-1)
