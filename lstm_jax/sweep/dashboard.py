"""How far a sweep is: one live line on a terminal, a line a member in a file."""

import heapq
import json
import logging
import math
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from lstm_jax.runs.directory import RunPaths
from lstm_jax.runs.metrics import read_result
from lstm_jax.sweep.define import Member
from lstm_jax.sweep.directory import SweepPaths, read_failure, status
from lstm_jax.sweep.summary import better, figure_of, metric_of

__all__ = ["Dashboard"]

_log = logging.getLogger(__name__)
TAIL = 4096
"""Bytes at the end of a metrics.jsonl in which the last row lies."""


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _last_epoch(path: Path) -> float:
    """Epochs done, by the last whole row of a metrics.jsonl; 0 where there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return 0.0
    for line in reversed(lines):
        try:
            return float(json.loads(line)["epoch"])
        except (ValueError, KeyError, TypeError):
            continue
    return 0.0


def weight(member: Member) -> float:
    """What a run costs beside the others: epochs times the length of its sequences."""
    task = member.config.task
    return float(member.config.train.epochs * task.get("length", task.get("window", 1)))


class Dashboard:
    """Shows members done, solved, failed, the best so far, those in training and the time left.

    Use it as a context manager around the running. The members in training are followed through their
    metrics.jsonl, so it is the same whichever process trains them.

    Args:
      paths: of the sweep.
      members: all of the sweep.
      metric: what is compared, "" for the default.
      interval: seconds between looks.
      stream: where the line is drawn; None is the standard error.
      live: True or False to redraw one line or not; None decides by the stream.
      clock: seconds, rising; for tests.
    """

    def __init__(
        self,
        paths: SweepPaths,
        members: Sequence[Member],
        metric: str = "",
        *,
        interval: float = 1.0,
        stream: TextIO | None = None,
        live: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._paths, self._metric, self._interval, self._clock = paths, metric, interval, clock
        self._members = {member.name: member for member in members}
        self._weights = {member.name: weight(member) for member in members}
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty() if live is None else live
        self._lock = threading.RLock()
        self._active: dict[str, tuple[float, float]] = {}  # name -> when it was taken up, and its share then
        self._took: dict[str, float] = {}  # name -> seconds that the whole member took
        self._slots = 1  # members in training at once, at most so far
        self._ended: dict[str, str] = {}
        self._solved, self._criteria = 0, False
        self._best: tuple[float, str, str] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        for name in self._members:
            if (state := status(paths.member(name))) in ("finished", "failed"):
                found = self._count(name, state)
                if found.get("seconds"):
                    self._took[name] = found["seconds"]

    def _share(self, name: str) -> float:
        """The share of a run's epochs that is done."""
        epochs = self._members[name].config.train.epochs
        return min(1.0, _last_epoch(RunPaths(self._paths.member(name)).metrics) / epochs)

    def _count(self, name: str, state: str) -> dict[str, Any]:
        self._ended[name] = state
        if state != "finished":
            return {}
        result = read_result(self._paths.member(name))
        metric = metric_of(result, self._metric)
        value = figure_of(result, metric)
        if "solved" in result:
            self._criteria = True
            self._solved += bool(result["solved"])
        if math.isfinite(value) and (self._best is None or better(metric, value, self._best[0])):
            self._best = value, metric, name
        return {
            "metric": metric,
            "value": value,
            **{k: result[k] for k in ("solved", "solved_step", "seconds") if k in result},
        }

    def started(self, name: str) -> None:
        """A member is taken up."""
        with self._lock:
            self._ended.pop(name, None)
            self._active[name] = self._clock(), self._share(name)
            self._slots = max(self._slots, len(self._active))

    def ended(self, name: str, state: str) -> None:
        """A member is finished or has failed, or is left "unfinished" to another process that writes it."""
        with self._lock:
            since, before = self._active.pop(name, (self._clock(), 0.0))
            if state == "unfinished":
                self._say(f"{name}: left to another process, which is writing it")
                return
            if before < 1:
                self._took[name] = (self._clock() - since) / (1 - before)
            found = self._count(name, state)
            self._say(self._line_of(name, state, found))

    def _line_of(self, name: str, state: str, found: Mapping[str, Any]) -> str:
        head = f"{len(self._ended)}/{len(self._members)} {name}: "
        if state == "failed":
            failure = read_failure(self._paths.member(name)) or {}
            return head + f"failed: {failure.get('error', 'see its run.log')}"
        text = f"test {found['metric'].replace('_', ' ')} {found['value']:.4g}"
        if "solved" in found:
            step = found["solved_step"]
            text += (
                ", not solved" if not found["solved"] else f", solved at step {step}" if step else ", solved"
            )
        left = self.seconds_left()
        return head + text + (f"; {_clock(left)} left" if left else "")

    def _expected(self, name: str) -> float | None:
        """Seconds that a member takes, by those that have ended: early stops and all.

        Of its own kind (another seed) first, else of its length, else of any, by their weights.
        """
        if not self._took:
            return None
        mine = self._members[name]
        for alike in (
            lambda other: other.labels == mine.labels,
            lambda other: self._weights[other.name] == self._weights[name],
            lambda other: True,
        ):
            kind = [other for other in self._took if alike(self._members[other])]
            if kind:
                weights = sum(self._weights[other] for other in kind)
                return sum(self._took[other] for other in kind) / weights * self._weights[name]
        return None

    def seconds_left(self) -> float | None:
        """Returns the seconds until all are done; None while that is unknown.

        A member takes as long as those like it took (see `_expected`); one that has outlived that, or has
        none like it, continues at its own pace to the end of its epochs. Those not begun go, in their order,
        to whichever place is free first, of as many as were in training at once.
        """
        now = self._clock()
        paces: dict[str, float] = {}  # name -> seconds for all of its epochs
        left: list[float] = []
        for name, (since, before) in self._active.items():
            if (done := self._share(name) - before) > 0:
                paces[name] = (now - since) / done
        for name, (since, before) in self._active.items():
            spent, expected = now - since, self._expected(name)
            whole = None if name not in paces else paces[name] * (1 - before) - spent
            like = None if expected is None else expected * (1 - before) - spent
            if like is not None and (like > 0 or whole is None):
                left.append(max(0.0, like if whole is None else min(like, whole)))
            elif whole is not None:
                left.append(max(0.0, whole))
        waiting = [name for name in self._members if name not in self._ended and name not in self._active]
        by_weight = sum(self._weights[name] for name in paces)
        if not self._took and not paces:
            return None
        places = [0.0] * max(0, self._slots - len(left)) + left
        heapq.heapify(places)
        for name in waiting:
            expected = self._expected(name)
            if expected is None:
                expected = sum(paces.values()) / by_weight * self._weights[name]
            heapq.heapreplace(places, places[0] + expected)
        return max(places)

    def line(self) -> str:
        """The line as it stands."""
        with self._lock:
            failed = sum(state == "failed" for state in self._ended.values())
            parts = [f"{len(self._ended)}/{len(self._members)} members"]
            if self._criteria:
                parts.append(f"{self._solved} solved")
            if failed:
                parts.append(f"{failed} failed")
            if self._best is not None:
                value, metric, name = self._best
                parts.append(f"best {metric.replace('_', ' ')} {value:.4g} ({name})")
            left = self.seconds_left()
            if left is not None:
                parts.append(f"{_clock(left)} left")
            parts += [f"{name} {100 * self._share(name):.0f}%" for name in self._active]
            return " | ".join(parts)

    def _say(self, line: str) -> None:
        if self._live:
            self._stream.write(f"\r\x1b[K{line}\n")
            self._draw()
        else:
            # Not through the log: while a member trains in this process, the log is that member's.
            self._stream.write(line + "\n")
            self._stream.flush()

    def _draw(self) -> None:
        with self._lock:
            columns = shutil.get_terminal_size().columns
            self._stream.write(f"\r\x1b[K{self.line()[: columns - 1]}")
            self._stream.flush()

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            self._draw()

    def __enter__(self) -> "Dashboard":
        if self._live:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._stream.write("\r\x1b[K")
            self._stream.flush()
