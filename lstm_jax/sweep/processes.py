"""Members in worker processes; each trains one at a time, or a group together.

A worker that dies takes with it what it is training, and nothing else.
"""

import contextlib
import glob
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import lstm_jax
from lstm_jax.runs.interrupts import Interrupted
from lstm_jax.sweep.dashboard import Dashboard
from lstm_jax.sweep.directory import record_failure
from lstm_jax.sweep.member import Job

__all__ = ["accelerators", "cores", "own_environment", "processes"]


def cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def accelerators() -> list[str]:
    """The GPUs to share out, as CUDA_VISIBLE_DEVICES names them; asked without taking one."""
    printable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if printable is not None:
        return [name for name in printable.split(",") if name]
    return [str(index) for index in range(len(glob.glob("/dev/nvidia[0-9]*")))]


def own_environment() -> dict[str, str]:
    """The environment of a process that is to find this very package."""
    root = str(Path(lstm_jax.__file__).parent.parent)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}


class _Worker:
    """A worker process with its share of the cores, and of the GPUs where there are any."""

    def __init__(self, index: int, workers: int, log: BinaryIO):
        every, devices = cores(), accelerators()
        mine = every[index::workers] or [every[index % len(every)]]
        environment = own_environment()
        if devices:
            environment["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
            if workers > len(devices):
                environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lstm_jax.sweep.worker", ",".join(map(str, mine))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,  # Ctrl-C on the terminal is the parent's to pass on
        )

    def train(self, job_group: Sequence[Job]) -> Iterator[tuple[str, str]]:
        """The name and status of each job, as the worker answers.

        Raises:
          EOFError: it died.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            pickle.dump(list(job_group), self.process.stdin)
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise EOFError from error
        for _ in job_group:
            try:
                yield pickle.load(self.process.stdout)
            except pickle.UnpicklingError as error:
                raise EOFError from error

    def end(self) -> int:
        """Ends its input, so that it stops when it has nothing to train; returns its exit status."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        status = self.process.wait()
        self.process.stdout.close()
        return status

    def signal(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signum)


class _WorkerPool:
    """The workers, each served by a thread that hands it one group of jobs after the other."""

    def __init__(
        self, job_groups: Sequence[Sequence[Job]], workers: int, dashboard: Dashboard, log: BinaryIO
    ):
        self._queue: queue.SimpleQueue[Sequence[Job]] = queue.SimpleQueue()
        for job_group in job_groups:
            self._queue.put(job_group)
        self._board, self._log, self._size = dashboard, log, workers
        self._stopping = threading.Event()
        self._workers: dict[int, _Worker] = {}
        self._lock = threading.Lock()  # between starting a worker and stopping all
        self._error: BaseException | None = None
        self.threads = [threading.Thread(target=self._serve, args=(index,)) for index in range(workers)]
        for thread in self.threads:
            thread.start()

    def _serve(self, index: int) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    job_group = self._queue.get_nowait()
                except queue.Empty:
                    break
                worker = self._worker(index)
                if worker is None:
                    return
                left = {job.name: job for job in job_group}
                for name in left:
                    self._board.started(name)
                try:
                    for name, state in worker.train(job_group):
                        del left[name]
                        self._board.ended(name, state)
                except EOFError:
                    died = worker.end()
                    if self._stopping.is_set():
                        return
                    if len(left) > 1:  # one at a time: most will not die
                        for job in left.values():
                            self._queue.put([job])
                        continue
                    for name, job in left.items():
                        record_failure(job.directory, _cause_of_death(died, self._log.name))
                        self._board.ended(name, "failed")
            if (last := self._workers.get(index)) is not None:
                last.end()
        except BaseException as error:  # a full disk, as a rule: the others stop too
            self._error = error
            self.stop(signal.SIGTERM)

    def _worker(self, index: int) -> _Worker | None:
        """The worker of that number, started when there is none alive; None when all is to stop."""
        with self._lock:
            if self._stopping.is_set():
                return None
            worker = self._workers.get(index)
            if worker is None or worker.process.poll() is not None:
                worker = self._workers[index] = _Worker(index, self._size, self._log)
            return worker

    def stop(self, signum: int) -> None:
        """Passes the signal on to every worker, and takes up nothing new."""
        with self._lock:
            self._stopping.set()
            for worker in self._workers.values():
                worker.signal(signum)

    def join(self) -> None:
        """Returns when all threads are done; raises what stopped one of them."""
        for thread in self.threads:
            while thread.is_alive():
                thread.join(0.2)  # in pieces: a signal is heard between them
        if self._error is not None:
            raise self._error


def _cause_of_death(status: int, log: str) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        hint = ", as when memory runs out" if name == "SIGKILL" else ""
        return f"the worker process was killed by {name}{hint}; see {log}"
    return f"the worker process ended with status {status}; see {log}"


def processes(job_groups: Sequence[Sequence[Job]], workers: int, dashboard: Dashboard) -> None:
    """Trains the groups in `workers` processes, each with its share of the cores (and of the GPUs).

    Ctrl-C or SIGTERM lets every worker save what it is training; a second one kills them.

    Raises:
      Interrupted: a signal came.
    """
    log_path = Path(job_groups[0][0].directory).parent.parent / "workers.log"
    with open(log_path, "ab") as log:
        pool = _WorkerPool(job_groups, workers, dashboard, log)
        try:
            pool.join()
        except BaseException as first:
            pool.stop(signal.SIGTERM)
            try:
                pool.join()
            except (Interrupted, KeyboardInterrupt):
                pool.stop(signal.SIGKILL)
                pool.join()
            except BaseException:
                pass  # what stopped a thread is the first error itself, or its echo
            raise first from None
