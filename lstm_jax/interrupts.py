"""SIGTERM and Ctrl-C as a request that a loop can honour at a safe place."""

import signal
from types import FrameType, TracebackType

__all__ = ["Interrupted", "Interrupts"]


class Interrupted(Exception):
    """The run was asked to stop, and stopped with everything saved.

    Attributes:
      signum: the signal that asked.
    """

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum


class Interrupts:
    """While entered, the first SIGTERM or SIGINT only sets `signum`; a second SIGINT stops at once.

    Outside the main thread (some notebooks) signals cannot be caught: then nothing is installed.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
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

    def check(self, message: str) -> None:
        """Raises Interrupted if a signal has come."""
        if self.signum is not None:
            raise Interrupted(self.signum, message)
