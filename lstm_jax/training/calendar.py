"""Where the compiled loop stops for the host: logs, evaluations, saves, the ends of epochs."""

from typing import NamedTuple

import numpy as np

__all__ = ["Calendar"]


class Calendar(NamedTuple):
    """When things are due, in steps: a pure function of the step, so that resume changes nothing.

    Attributes:
      epoch_ends: [epochs] step at which each epoch ends.
      eval_every: steps between evaluations; 0: at each epoch's end.
      save_every: steps between saves; 0: with each evaluation.
      steps_per_call: the most windows in one compiled call.
    """

    epoch_ends: np.ndarray
    eval_every: int
    save_every: int
    steps_per_call: int

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return int(self.epoch_ends[-1])

    def epoch(self, step: int) -> int:
        """Index of the epoch that the window at `step` belongs to."""
        return int(np.searchsorted(self.epoch_ends, step, side="right"))

    def epochs_done(self, step: int) -> float:
        """Epochs done after `step` windows, with the fraction of the current one."""
        index = self.epoch(step)
        if index == len(self.epoch_ends):
            return float(index)
        first = 0 if index == 0 else int(self.epoch_ends[index - 1])
        return index + (step - first) / (int(self.epoch_ends[index]) - first)

    def evaluation_due(self, step: int) -> bool:
        """Whether an evaluation belongs after `step` windows."""
        if step == self.total:
            return True
        if self.eval_every:
            return step % self.eval_every == 0
        return step in self.epoch_ends

    def save_due(self, step: int) -> bool:
        """Whether a save belongs after `step` windows."""
        return self.evaluation_due(step) or bool(self.save_every and step % self.save_every == 0)

    def next_stop(self, step: int) -> int:
        """The step at which the host is next needed."""
        stops = [
            (step // every + 1) * every
            for every in (self.steps_per_call, self.eval_every, self.save_every)
            if every
        ]
        return min(*stops, int(self.epoch_ends[self.epoch(step)]))
