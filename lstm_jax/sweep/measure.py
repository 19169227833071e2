"""How fast members are trained one at a time, and how fast together: measured, a few steps of each.

`python -m lstm_jax.sweep.measure CORES` measures in a process of its own what comes in on its standard
input, a pickled list of units of jobs, and prints what `first_measured` gives for them. It writes nothing but
the programs that it compiles, which the training then finds.
"""

import contextlib
import gc
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence

from ml_collections import ConfigDict

from lstm_jax.runs.interrupts import Interrupted
from lstm_jax.support.errors import UserError
from lstm_jax.sweep.member import Job, share_compiles
from lstm_jax.sweep.processes import own_environment

__all__ = ["Pace", "choose_faster", "first_measured", "measured"]

WINDOWS = 10
"""Windows of the shortest measured call, and of its warm-up."""
SECONDS = 1.0
"""What a measured call should take at least."""
TRIES = 4
"""Members, or parts of a group, that are tried before none is measured."""


def measured(jobs: Sequence[Job]) -> float:
    """Windows a second, of all the jobs' runs together, from their first states on; saves nothing.

    The learning rate is 0 meanwhile: nothing moves, so that a run which will diverge can be measured too.

    Raises:
      UserError: as `training.loop.run_together`; numbers that are not finite from the start on.
    """
    import jax

    from lstm_jax.training import optim, program

    share_compiles(jobs[0].compiled)
    configs = [ConfigDict(job.config) for job in jobs]
    team = program.assemble(configs, *program.prepare(configs), fewer_devices=True)
    which, most = range(len(jobs)), configs[0].train.steps_per_call
    states = [s.replace(opt_state=optim.set_learning_rate(s.opt_state, 0.0)) for s in team.fresh]

    def timed(windows: int) -> float:
        nonlocal states
        began, before = time.perf_counter(), int(states[0].step)
        states, sums = team.advance(which, states, windows)
        jax.block_until_ready(sums)
        seconds = time.perf_counter() - began
        # The loop ends where the numbers of all are not finite: what it then did is no measure.
        if int(states[0].step) - before < windows:
            raise UserError(f"the loss or its gradient is not finite at step {int(states[0].bad_step)}")
        return seconds

    windows = WINDOWS
    timed(windows)
    while True:
        seconds = timed(windows)
        if seconds >= SECONDS or windows >= most:
            return windows * len(jobs) / seconds
        windows = min(max(2 * windows, int(windows * SECONDS / seconds) + 1), most)


def first_measured(job_groups: Sequence[Sequence[Job]]) -> tuple[float, int, str]:
    """What `measured` gives for the first of the units that can be measured.

    Returns:
      The windows a second; the members of that unit; why the one before it could not be, "" for the first.

    Raises:
      UserError: none of them can be measured, whatever the reason: a config, numbers, memory.
    """
    reason = ""
    for job_group in job_groups:
        try:
            return measured(job_group), len(job_group), reason
        except Interrupted:
            raise
        except Exception as error:
            reason = (" ".join(str(error).split()) or type(error).__name__)[:300]
        gc.collect()  # what did not fit must not stand in the way of what may
    raise UserError(f"the members cannot be measured: {reason}")


def _ones(job_group: Sequence[Job]) -> list[list[Job]]:
    """Some members of the group, from all along it, one at a time."""
    return [[job] for job in job_group[:: -(-len(job_group) // TRIES)]]


def _parts(job_group: Sequence[Job]) -> list[list[Job]]:
    """The unit, its halves, and the first quarter, as far as these are several members."""
    half, quarter = len(job_group) // 2, len(job_group) // 4
    parts = [list(job_group), list(job_group[:half]), list(job_group[half:]), list(job_group[:quarter])]
    return [part for part in parts if len(part) > 1]


class Pace:
    """What was measured.

    Attributes:
      one_by_one: windows a second, all workers together, each training one member at a time.
      together: the same where each trains its share of a group at once.
      members: members of that group in one worker.
      reason: why they are fewer than were to be measured; "" where they are not.
    """

    def __init__(self, one_by_one: float, together: float, members: int, reason: str = ""):
        self.one_by_one, self.together, self.members, self.reason = one_by_one, together, members, reason

    def __str__(self) -> str:
        more = f", for more cannot be measured: {self.reason}" if self.reason else ""
        return (
            f"measured {self.one_by_one:.4g} windows/s one member at a time, {self.together:.4g} with "
            f"{self.members} together{more}"
        )


def choose_faster(job_groups: Sequence[Sequence[Job]], cores: Sequence[Sequence[int]]) -> Pace:
    """Measures one member at a time against the first unit together, in as many processes as will train.

    A member that cannot be measured makes place for another, a group for a part of it.

    Args:
      job_groups: one per worker, each with the members of that worker; the first decides what fits.
      cores: of each worker; none: this process is the worker, for only it may hold the accelerator.

    Raises:
      UserError: none of those that were tried can be measured.
    """
    if len(cores) <= 1:
        one_by_one, *_ = first_measured(_ones(job_groups[0]))
        return Pace(one_by_one, *first_measured(_parts(job_groups[0])))
    one_by_one, *_ = _side_by_side([_ones(job_group) for job_group in job_groups], cores)
    # A worker's share of a small group may be one member.
    return Pace(
        one_by_one,
        *_side_by_side([_parts(job_group) or [list(job_group)] for job_group in job_groups], cores),
    )


def _side_by_side(
    plans: Sequence[Sequence[Sequence[Job]]], cores: Sequence[Sequence[int]]
) -> tuple[float, int, str]:
    """`first_measured` in a process for each plan, at the same time: the sum of the rates, the least unit."""
    running = []
    for plan, own in zip(plans, cores, strict=False):
        process = subprocess.Popen(
            [sys.executable, "-m", "lstm_jax.sweep.measure", ",".join(map(str, own))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=own_environment(),
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(pickle.dumps([list(job_group) for job_group in plan]))
            process.stdin.close()
        process.stdin = None
        running.append(process)
    found = []
    try:
        for process in running:
            out, error = process.communicate()
            if process.returncode:
                lines = error.decode(errors="replace").strip().splitlines() or ["no reason given"]
                status = "" if process.returncode == 1 else f"status {process.returncode}: "
                raise UserError(f"{status}{lines[-1]}")
            found.append(json.loads(out))
    finally:
        for process in running:
            process.kill()
            with process:  # closes its pipes, and waits for it
                pass
    rates, members, reasons = zip(*found, strict=True)
    return sum(rates), min(members), next(filter(None, reasons), "")


def main(cores: str) -> int:
    """Measures what comes in; returns the exit status."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not the answer
    from lstm_jax.support.quiet import quiet_libraries

    quiet_libraries()
    plan = pickle.load(sys.stdin.buffer)
    try:
        json.dump(first_measured(plan), out)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
