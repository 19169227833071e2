"""The checks of `benchmarks/accelerator.py`, in order of worth: functions of Settings that yield rows.

A row is a flat dict of plain values. A check runs in a process of its own, so that a crash, a hang or a full
GPU takes no other check with it.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

__all__ = ["CHECKS", "Check", "Row", "Settings"]

Row = dict[str, Any]


class Settings(NamedTuple):
    """What a check may use.

    Attributes:
      seconds: time it has; a training check stops itself, the others are ended.
      miniature: toy sizes, for a CPU.
      data: directory with the Penn Treebank's files; "" where there is none.
      work: directory for runs and other large files.
    """

    seconds: float
    miniature: bool
    data: str
    work: str


class Check(NamedTuple):
    """One line of the table.

    Attributes:
      module: in this package.
      function: of the module, (Settings) -> rows.
      seconds: what it costs on an H100, compilation included; also its time limit, times 1.5.
      what: what it measures.
    """

    module: str
    function: str
    seconds: int
    what: str

    def rows(self, settings: Settings) -> Iterator[Row]:
        """Runs the check in this process."""
        import importlib

        function: Callable[[Settings], Iterator[Row]]
        function = getattr(importlib.import_module(f"checks.{self.module}"), self.function)
        yield from function(settings)


CHECKS: dict[str, Check] = {
    "device": Check("device", "device", 25, "versions, device, copy bandwidth, bf16 matmul"),
    "parity": Check("parity", "parity", 100, "every backend against the loop: values and gradients"),
    "resume": Check("parity", "resume", 100, "a resumed run against an uninterrupted one, bit for bit"),
    "layers": Check(
        "layers", "layers", 150, "one layer, forward + backward, by backend, beside torch's cuDNN"
    ),
    "steps": Check("steps", "steps", 160, "whole training steps at four shapes, tf32, beside torch and flax"),
    "steps_bf16": Check("steps", "steps_bf16", 160, "the same in bfloat16"),
    "medium": Check(
        "training", "medium", 210, "zaremba.py:medium to its end (valid 85 to 88, test 81 to 84)"
    ),
    "sweeps": Check("sweeps", "sweeps", 90, "members x steps a second, vmapped, one after another, torch"),
    "time": Check("layers", "over_time", 60, "backends that are parallel in time, over T"),
    "cells": Check("layers", "cells", 200, "every cell's speed relative to the LSTM"),
    "awd": Check("training", "awd", 300, "AWD-LSTM for as many epochs as fit, beside its learning curve"),
    "adam_tied": Check("training", "adam_tied", 300, "adam_tied.py as far as it gets"),
    "large": Check("training", "large", 600, "zaremba.py:large as far as it gets"),
}
"""name -> check."""
