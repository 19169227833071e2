"""A worker process of a sweep: `python -m lstm_jax.sweep.worker CORES`; jobs come in, statuses go out.

Both are pickles, on the standard input and output: a list of jobs that are trained together, and for each of
them its name and status when it has ended. When the input ends, as it does when the parent is
killed, the run in training saves and stops.
"""

import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
from typing import Any, BinaryIO

__all__ = ["main"]


def _read(source: BinaryIO, jobs: "queue.Queue[Any]", busy: threading.Event, ended: threading.Event) -> None:
    """Puts incoming jobs into `jobs`; None at the end of the input, which stops the run in training."""
    while True:
        try:
            jobs.put(pickle.load(source))
        except (EOFError, OSError, pickle.UnpicklingError):
            ended.set()  # before the look at `busy`, which is set before the look at this one
            jobs.put(None)
            if busy.is_set():
                os.kill(os.getpid(), signal.SIGTERM)
            return


def work(source: BinaryIO, replies: BinaryIO) -> int:
    """Trains the groups of jobs that come in from `source` until it ends; returns the exit status.

    Args:
      source: pickled lists of jobs.
      replies: gets a pickled (name, status) for each job that has ended.
    """
    from lstm_jax.runs.interrupts import Interrupted
    from lstm_jax.sweep.member import stoppable, train_members

    jobs: queue.Queue[Any] = queue.Queue()
    busy, ended = threading.Event(), threading.Event()

    def report(name: str, status: str) -> None:
        # Without a parent nobody reads it; the end of the input stops the training.
        with contextlib.suppress(BrokenPipeError):
            pickle.dump((name, status), replies)
            replies.flush()

    try:
        with stoppable():
            threading.Thread(target=_read, args=(source, jobs, busy, ended), daemon=True).start()
            while (job_group := jobs.get()) is not None:
                busy.set()
                if ended.is_set():
                    break
                train_members(job_group, report)
                busy.clear()
    except Interrupted as stop:
        return 128 + stop.signum
    return 0


def main(cores: str) -> int:
    """Works until the input ends; returns the exit status.

    Args:
      cores: numbers of the cores to keep to, with commas between; "" for any.
    """
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    # What libraries print must not come between the pickles.
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    from lstm_jax.support.quiet import quiet_libraries

    quiet_libraries()
    return work(sys.stdin.buffer, replies)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
