"""Members on a Ray cluster: one remote task a unit, scheduled, placed and started again by Ray itself.

Without an address a cluster on this machine is started for the sweep, and goes with it. On a real one the
results come as they do everywhere, through the members' directories: the sweep's --workdir, the data and this
clone must lie on a file system that all machines share, under the same paths, and each needs the same Python
packages. A task whose worker or machine is lost is started again by Ray, up to RETRIES times, and the member
resumes from its newest checkpoint.

Ctrl-C cancels the tasks: those that wait are dropped, and in those at work Ray raises the signal that a
terminal would, at which a run saves and stops. A second Ctrl-C kills them.
"""

import contextlib
import logging
import math
import os
import platform
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lstm_jax
from lstm_jax.runs.interrupts import Interrupted
from lstm_jax.support.errors import UserError
from lstm_jax.sweep.dashboard import Dashboard
from lstm_jax.sweep.directory import record_failure
from lstm_jax.sweep.member import Job, stoppable, train_members

__all__ = ["train_on_ray"]

RETRIES = 2
"""How often Ray starts a task again whose worker died; a run that fails is no such thing."""
LOOK = 0.5
"""Seconds between looks at what has begun."""
PASSED_ON = ("JAX_", "XLA_", "LSTM_JAX_", "MPLBACKEND", "TFDS_")
"""Beginnings of the names of environment variables that the tasks get from here."""
STOPPED = "stopped"


def _train(job_group: Sequence[Job]) -> list[tuple[str, str]]:
    """What a task does: the name and status of each member; STOPPED where it was asked to stop."""
    sweep = Path(job_group[0].directory).parent.parent
    if not sweep.is_dir():
        raise UserError(
            f"{sweep} is not seen on {platform.node()}: give a --workdir on a file system that all machines "
            "share"
        )
    from lstm_jax.support.quiet import quiet_libraries

    quiet_libraries()
    ended: list[tuple[str, str]] = []
    try:
        with stoppable():
            train_members(job_group, lambda name, state: ended.append((name, state)))
    except Interrupted:
        done = {name for name, _ in ended}
        ended += [(job.name, STOPPED) for job in job_group if job.name not in done]
    return ended


@contextlib.contextmanager
def _cluster(address: str, cpus: int) -> Iterator[Any]:
    """The module ray, connected; a cluster of our own is taken down at the end."""
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
    except ImportError as error:
        raise UserError("--mode=ray needs Ray: pip install -e '.[ray]'") from error
    logging.getLogger("ray").setLevel(logging.ERROR)  # its messages on tokens and dashboards
    own: dict[str, Any] = {} if address else {"num_cpus": cpus, "include_dashboard": False}
    try:
        ray.init(
            address=address or "local",
            logging_level=logging.ERROR,
            log_to_driver=False,
            configure_logging=False,
            namespace="lstm_jax",
            **own,
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
        where = f"the Ray cluster at {address} cannot be reached" if address else "Ray cannot be started"
        raise UserError(
            f"{where}: {' '.join(str(error).split())[:300]}; give --address=HOST:PORT of its head, or none "
            "for a cluster on this machine"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _environment(cpus: float, gpus: float) -> dict[str, str]:
    """Variables that a task's process is to have before jax is imported there."""
    root = str(Path(lstm_jax.__file__).parent.parent)
    found = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    found.setdefault("PJRT_NPROC", str(max(1, int(cpus))))  # threads of XLA on the CPU
    if gpus == 0:
        found["CUDA_VISIBLE_DEVICES"] = ""  # or each task would take every GPU of its machine
    elif gpus < 1:
        found.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 * gpus:.3f}")
    return found


def _stamp(job: Job) -> tuple[int, int]:
    """Changes once the member trains: it then writes to its log."""
    try:
        found = os.stat(Path(job.directory) / "run.log")
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def train_on_ray(
    job_groups: Sequence[Sequence[Job]],
    dashboard: Dashboard,
    *,
    address: str,
    workers: int,
    cpus: float,
    gpus: float,
) -> None:
    """Trains the groups as tasks of a Ray cluster.

    Args:
      job_groups: each the members of one task.
      dashboard: is given what begins and ends.
      address: of the cluster's head, as `ray.init` takes it; "": one of our own, on this machine.
      workers: CPUs of a cluster of our own.
      cpus: that a task takes.
      gpus: that a task takes, a fraction where several share one; negative: 1 where the cluster has any.

    Raises:
      Interrupted: a signal came; what was at work has saved.
      UserError: Ray is missing, the cluster cannot be reached, or has not what one task takes.
    """
    # stoppable() again, for ray.init takes SIGTERM for itself.
    with _cluster(address, max(workers, math.ceil(cpus))) as ray, stoppable():
        has = ray.cluster_resources()
        gpus = (1.0 if has.get("GPU") else 0.0) if gpus < 0 else gpus
        for name, wanted in (("CPU", cpus), ("GPU", gpus)):
            if wanted > has.get(name, 0.0):
                raise UserError(
                    f"--task_{name.lower()}s={wanted:g} is more than the cluster has, {has.get(name, 0.0):g}"
                )
        task = ray.remote(
            num_cpus=cpus,
            num_gpus=gpus,
            max_retries=RETRIES,
            runtime_env={"env_vars": _environment(cpus, gpus)},
        )(_train)
        waiting = {job.name: (job, _stamp(job)) for job_group in job_groups for job in job_group}
        tasks = {task.remote(list(job_group)): job_group for job_group in job_groups}
        try:
            while tasks:
                _follow(ray, tasks, waiting, dashboard)
        except BaseException as first:
            try:
                _stop(ray, list(tasks), force=False)
            except (Interrupted, KeyboardInterrupt):
                _stop(ray, list(tasks), force=True)
            raise first from None


def _follow(ray: Any, tasks: dict[Any, Sequence[Job]], waiting: dict[str, Any], dashboard: Dashboard) -> None:
    """Tells the dashboard what has begun and ended since the last look, and takes it out of the dicts."""
    done, _ = ray.wait(list(tasks), timeout=LOOK)
    for name, (job, before) in list(waiting.items()):
        if _stamp(job) != before:
            dashboard.started(name)
            del waiting[name]
    for ref in done:
        job_group = tasks.pop(ref)
        try:
            ended = ray.get(ref)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise
        except ray.exceptions.RayError as error:  # the retries are at their end
            reason = " ".join(str(error).split())[:300]
            ended = [(job.name, "failed") for job in job_group]
            for job in job_group:
                record_failure(job.directory, f"Ray lost the worker {RETRIES + 1} times: {reason}")
        for name, state in ended:
            if waiting.pop(name, None):
                dashboard.started(name)
            if state == STOPPED:
                raise UserError(f"{name} was stopped on its worker, and has saved: the same command resumes")
            dashboard.ended(name, state)


def _stop(ray: Any, tasks: Sequence[Any], force: bool) -> None:
    """Cancels the tasks, and waits until those at work have saved; `force` kills them."""
    for ref in tasks:
        ray.cancel(ref, force=force)
    left = list(tasks)
    while left and not force:
        _, left = ray.wait(left, num_returns=len(left), timeout=LOOK)
        time.sleep(0)  # a place for a signal between two waits
