"""A worker process of a sweep: `python -m lstm_jax.sweep.worker CORES`; jobs come in, statuses go out.

Both are pickles, on the standard input and output: a list of jobs that are trained together, and for each of
them its name and status when it has ended. When the input ends, as it does when the parent is
killed, the run in hand saves and stops.
"""

import os
import pickle
import queue
import signal
import sys
import threading
from typing import Any

__all__ = ["main"]


def _read(jobs: "queue.Queue[Any]", busy: threading.Event) -> None:
    """Puts what comes in into `jobs`; None at its end."""
    while True:
        try:
            jobs.put(pickle.load(sys.stdin.buffer))
        except (EOFError, OSError, pickle.UnpicklingError):
            jobs.put(None)
            if busy.is_set():
                os.kill(os.getpid(), signal.SIGTERM)
            return


def main(cores: str) -> int:
    """Works until the input ends; returns the exit status.

    Args:
      cores: numbers of the cores to keep to, with commas between; "" for any.
    """
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(core) for core in cores.split(",")])
    # What libraries print must not come between the pickles.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    from lstm_jax.interrupts import Interrupted
    from lstm_jax.quiet import quiet_libraries
    from lstm_jax.sweep.member import stoppable, train_members

    quiet_libraries()
    jobs: queue.Queue[Any] = queue.Queue()
    busy = threading.Event()

    def report(name: str, status: str) -> None:
        pickle.dump((name, status), replies)
        replies.flush()

    try:
        with stoppable():
            threading.Thread(target=_read, args=(jobs, busy), daemon=True).start()
            while (unit := jobs.get()) is not None:
                busy.set()
                train_members(unit, report)
                busy.clear()
    except Interrupted as stop:
        return 128 + stop.signum
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
