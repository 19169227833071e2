"""How fast members are trained one at a time, and how fast together: measured, a few steps of each.

`python -m lstm_jax.sweep.measure CORES` measures in a process of its own what comes in on its standard
input, a pickled list of units of jobs, and prints for each the windows a second that all its members together
do. It writes nothing but the programs that it compiles, which the training then finds.
"""

import contextlib
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence

from ml_collections import ConfigDict

from lstm_jax.errors import UserError
from lstm_jax.sweep.member import Job, share_compiles
from lstm_jax.sweep.processes import own_environment

__all__ = ["Pace", "choose_faster", "measured"]

WINDOWS = 10
"""Windows of the shortest measured call, and of its warm-up."""
SECONDS = 1.0
"""What a measured call should take at least."""


def measured(jobs: Sequence[Job]) -> float:
    """Windows a second, of all the jobs' runs together, from their first states on; saves nothing.

    Raises:
      UserError: as `train.run_together`.
    """
    import jax

    from lstm_jax import crew

    share_compiles(jobs[0].compiled)
    configs = [ConfigDict(job.config) for job in jobs]
    team = crew.assemble(configs, *crew.prepare(configs))
    which, states, windows = range(len(jobs)), team.fresh, WINDOWS
    states, sums = team.advance(which, states, windows)
    jax.block_until_ready(sums)
    while True:
        began = time.perf_counter()
        states, sums = team.advance(which, states, windows)
        jax.block_until_ready(sums)
        seconds = time.perf_counter() - began
        if seconds >= SECONDS or windows >= configs[0].train.steps_per_call:
            return windows * len(jobs) / seconds
        windows = min(max(2 * windows, int(windows * SECONDS / seconds) + 1), configs[0].train.steps_per_call)


class Pace:
    """What was measured.

    Attributes:
      apart: windows a second, all workers together, each training one member at a time.
      together: the same where each trains its share of a group at once.
      members: members of that group in one worker.
    """

    def __init__(self, apart: float, together: float, members: int):
        self.apart, self.together, self.members = apart, together, members

    def __str__(self) -> str:
        return (
            f"measured {self.apart:.4g} windows/s one member at a time, {self.together:.4g} with "
            f"{self.members} together"
        )


def choose_faster(units: Sequence[Sequence[Job]], cores: Sequence[Sequence[int]]) -> Pace:
    """Measures one member at a time against the first unit together, in as many processes as will train.

    Args:
      units: the shares of the largest group, one a worker, at least one; the workers measure side by side.
      cores: of each worker; none: this process is the worker, for only it may hold the accelerator.

    Raises:
      UserError: the members cannot be trained.
    """
    if len(cores) <= 1:
        return Pace(measured(units[0][:1]), measured(units[0]), len(units[0]))
    apart = _side_by_side([[unit[:1]] for unit in units], cores)
    together = _side_by_side([[unit] for unit in units], cores)
    return Pace(apart, together, len(units[0]))


def _side_by_side(plans: Sequence[Sequence[Sequence[Job]]], cores: Sequence[Sequence[int]]) -> float:
    """The sum over processes of what each measures at the same time as the others."""
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
            process.stdin.write(pickle.dumps([list(unit) for unit in plan]))
            process.stdin.close()
        process.stdin = None
        running.append(process)
    total = 0.0
    try:
        for process in running:
            out, error = process.communicate()
            if process.returncode:
                lines = error.decode(errors="replace").strip().splitlines()
                raise UserError(
                    f"the members cannot be measured: {lines[-1] if lines else 'no reason given'}"
                )
            total += sum(json.loads(out))
    finally:
        for process in running:
            process.kill()
            process.wait()
    return total


def main(cores: str) -> int:
    """Measures what comes in; returns the exit status."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not the answer
    from lstm_jax.quiet import quiet_libraries

    quiet_libraries()
    plan = pickle.load(sys.stdin.buffer)
    try:
        json.dump([measured(unit) for unit in plan], out)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
