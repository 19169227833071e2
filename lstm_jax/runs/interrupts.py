"""SIGTERM and Ctrl-C as a request that a loop can honour at a safe place."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType

__all__ = ["Interrupted", "Interrupts", "Stopped"]


class Stopped(Exception):
    """Whoever watches the run wants no more of it, and says why; what was done is saved."""


class Interrupted(Exception):
    """The run was asked to stop, and stopped with everything saved.

    Attributes:
      signum: the signal that asked.
    """

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum

    def __reduce__(self) -> tuple:
        """Pickles both arguments: a worker process hands the exception to its parent."""
        return type(self), (self.signum, str(self))


class Interrupts:
    """While entered, the first SIGTERM or SIGINT is only noted; a second SIGINT stops at once.

    Outside the main thread (some notebooks) signals cannot be caught: then nothing is installed.

    Args:
      agree: makes of the number of the signal that came here, 0 for none, what all processes of the run are
        to act on. All of them must then ask, with `heard` or `check`, at the same places.
    """

    def __init__(self, agree: Callable[[int], int] = lambda signum: signum) -> None:
        self.signum: int | None = None
        self._agree = agree
        self._previous: dict[int, object] = {}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.signum = signum

    def __enter__(self) -> "Interrupts":
        for signum in (signal.SIGTERM, signal.SIGINT):
            try:
                self._previous[signum] = signal.signal(signum, self._note)
            except ValueError:  # not the main thread
                break
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)  # type: ignore[arg-type]

    def requested(self) -> bool:
        """Whether a signal has come, here or in another process; `signum` is then it."""
        agreed = self._agree(self.signum or 0)
        if agreed:  # else one that came meanwhile would be forgotten
            self.signum = agreed
        return bool(agreed)

    def check(self, message: str) -> None:
        """Raises Interrupted if a signal has come, here or in another process."""
        if self.requested():
            assert self.signum is not None
            raise Interrupted(self.signum, message)
