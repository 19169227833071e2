"""Where a figure comes from: commit, versions, hardware, date."""

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

import lstm_jax

__all__ = ["commit_of", "hardware", "provenance", "versions"]

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "numpy")


def _git(directory: Path, *arguments: str) -> str | None:
    # A hook's GIT_DIR would point git at another repository than the one this code lies in.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(directory), *arguments],
            capture_output=True, text=True, env=environment, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def commit_of(file: str | os.PathLike[str]) -> tuple[str | None, bool | None]:
    """The git commit `file` was checked out from, and whether that working tree differs from it.

    (None, None) where there is no git, no repository, or one that does not track the file: a package
    installed in an environment inside somebody else's repository has not that one's commit.
    """
    file = Path(file).resolve()
    if not file.exists() or _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return None, None
    commit, status = _git(file.parent, "rev-parse", "HEAD"), _git(file.parent, "status", "--porcelain")
    return commit, None if commit is None or status is None else bool(status)


def versions() -> dict[str, str]:
    """Versions by package, of those that can change a figure and are installed."""
    found = {"lstm_jax": lstm_jax.__version__}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    name = ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            name = next((line.partition(":")[2] for line in lines if line.startswith("model name")), "")
    except OSError:
        pass
    name = " ".join((name or platform.processor() or platform.machine() or "unknown CPU").split())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{name}, {cores} core{'s' if cores != 1 else ''}"


def hardware() -> str:
    """The devices jax computes on, in words: "2 x NVIDIA H100", "Intel Xeon, 2 cores".

    The number of cores is what this process may use. Several devices made of one CPU are said to be so.
    """
    devices = jax.devices()
    if devices[0].platform == "cpu":
        return _cpu() if len(devices) == 1 else f"{_cpu()} as {len(devices)} devices"
    return f"{len(devices)} x {devices[0].device_kind}"


def provenance() -> dict[str, Any]:
    """`{commit, dirty, versions, python, hardware, date}`, as JSON takes it; the date in UTC."""
    commit, dirty = commit_of(lstm_jax.__file__)
    return {
        "commit": commit,
        "dirty": dirty,
        "versions": versions(),
        "python": platform.python_version(),
        "hardware": hardware(),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),  # noqa: UP017
    }
