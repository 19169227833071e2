"""How the checks time what runs on a device."""

import statistics
import time
from collections.abc import Callable
from typing import Any

__all__ = ["seconds_per_call"]


def seconds_per_call(run: Callable[[], Any], *, rounds: int = 5) -> tuple[float, float]:
    """Times a function that waits for its result.

    Args:
      run: called once to compile and warm up, then `rounds` times.
      rounds: timed calls.

    Returns:
      (median seconds of a call, seconds of the first call).
    """
    began = time.perf_counter()
    run()
    first = time.perf_counter() - began
    run()
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken), first
