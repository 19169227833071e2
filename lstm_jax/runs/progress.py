"""How far a run is: a bar on a terminal or in a notebook, a line now and then in a file."""

import logging
import math
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm

__all__ = ["Progress"]

_log = logging.getLogger(__name__)


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this: its streams are no terminals, and yet draw a bar well."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def _figure(value: float) -> str:
    if not math.isfinite(value):
        return str(float(value))
    if abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4g}"


def _time(seconds: float) -> str:
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


class Progress:
    """Shows the steps done out of `total`, with figures beside them and the time left.

    Use it as a context manager. On a terminal and in a notebook it is a tqdm bar; elsewhere (a log file, a
    batch job) a line goes to the log at most every `interval` seconds.

    Args:
      total: steps of the whole run.
      start: steps done before this process began, so that the time left counts only its own pace.
      interval: seconds between log lines where there is no bar.
      bar: True or False to have a bar or not; None decides by the stream.
      stream: where the bar is drawn; None is the standard error.
      clock: seconds, rising; for tests.
    """

    def __init__(
        self,
        total: int,
        start: int = 0,
        *,
        interval: float = 30.0,
        bar: bool | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._total, self._start, self._step = total, start, start
        self._interval, self._clock = interval, clock
        self._began = self._said = clock()
        stream = sys.stderr if stream is None else stream
        notebook = _in_notebook()
        if bar is None:
            bar = notebook or stream.isatty()
        self._bar: Any = None
        if bar:
            self._bar = tqdm(
                total=total,
                initial=start,
                unit="step",
                file=stream,
                dynamic_ncols=not notebook,
                ncols=110 if notebook else None,
                mininterval=1.0 if notebook else 0.1,  # a kernel sends every redraw over a socket
                smoothing=0.05,  # evaluations come in bursts: a long memory keeps the time left calm
                bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
            )

    def update(self, step: int, **figures: float) -> None:
        """Moves to `step` steps done.

        Args:
          step: of the whole run, not of this process.
          **figures: what to show beside it, e.g. loss (nats), perplexity, tokens_per_second.
        """
        shown = {name.replace("_per_second", "/s"): _figure(value) for name, value in figures.items()}
        if self._bar is not None:
            self._bar.set_postfix(shown, refresh=False)
            self._bar.update(step - self._step)
            self._step = step
            return
        self._step = step
        now = self._clock()
        if now - self._said >= self._interval:
            self._said = now
            parts = [f"step {step}/{self._total}", *(f"{name} {value}" for name, value in shown.items())]
            if step > self._start:
                left = (now - self._began) / (step - self._start) * (self._total - step)
                parts.append(f"{_time(left)} left")
            _log.info("%s", ", ".join(parts))

    def say(self, line: str) -> None:
        """Puts a line above the bar, or into the log where there is none."""
        if self._bar is None:
            _log.info("%s", line)
        else:
            self._bar.write(line, file=self._bar.fp)

    def close(self) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
