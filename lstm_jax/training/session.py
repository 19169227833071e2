"""The host's part of one run in training: its directory, checkpoints and records, and what it has come to."""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from lstm_jax.models import Model
from lstm_jax.runs import distributed
from lstm_jax.runs.checkpoint import Checkpoints
from lstm_jax.runs.directory import RunDirectory, RunPaths, write_json
from lstm_jax.runs.interrupts import Interrupts, Stopped
from lstm_jax.runs.metrics import Recorder
from lstm_jax.runs.trackers import Trackers
from lstm_jax.support.errors import UserError
from lstm_jax.tasks.base import Task
from lstm_jax.training import optim, outcome
from lstm_jax.training.calendar import Calendar
from lstm_jax.training.fields import ADDED
from lstm_jax.training.state import TrainState

__all__ = ["OnEvaluation", "SaveTimes", "Session"]

_log = logging.getLogger(__name__)

NEW_RUN: dict[str, Any] = {
    "history": [],
    "best": math.inf,
    "best_step": 0,
    "evaluated": 0,
    "solved_step": None,
    "seconds": 0.0,
}
"""The host's part of the state: validation losses so far, the least of them and its step, the last step that
was evaluated, the first whose figures solved the task, and the seconds of training so far."""

LogContext = Callable[[], contextlib.AbstractContextManager[Any]]
OnEvaluation = Callable[[int, Mapping[str, float]], None]
"""Called with the step and the figures of each evaluation on valid, once they are recorded and saved; it may
raise `Stopped` to end the run there."""


class SaveTimes:
    """When runs that train together save: all at the same steps, no more often than every so many seconds.

    A kill between two saves, or in the middle of one, then leaves every run with a checkpoint of one common
    step, from which they resume together.

    Args:
      interval: seconds between saves; 0: each save that is due is made.
      wait: returns when every earlier save of all the runs is on the disk.
    """

    def __init__(self, interval: float, wait: Callable[[], None] = lambda: None):
        self.interval, self._wait = interval, wait
        self._at = time.monotonic()
        self._answer = (-1, False)

    def due(self, step: int) -> bool:
        """Whether the runs save at `step`; the answer is the same for all of them."""
        if not self.interval:
            return True
        if step != self._answer[0]:
            self._answer = (step, time.monotonic() - self._at >= self.interval)
            if self._answer[1]:
                self._wait()
                self._at = time.monotonic()
        return self._answer[1]


class Session:
    """One run in training. Use it as a context manager: leaving it closes its files.

    Args:
      c: the run's config.
      task, others, model: of the run; `others` see `lengths.other_lengths`.
      fresh: the state before the first step; replaced by the latest good checkpoint's.
      workdir: of the run.
      calendar: when things are due.
      log_context: entered around whatever the run says, e.g. to send it to a log of its own.
      on_evaluation: see OnEvaluation; after a resume it does not hear again of what was evaluated before.
      save_times: shared by runs that train together; None: each save that is due is made.

    Attributes:
      state: the state as it stands.
      host: see NEW_RUN.

    Raises:
      UserError: the directory is in use or another run's, its texts have changed, or its checkpoints cannot
        be read.
    """

    def __init__(
        self,
        c: ConfigDict,
        task: Task,
        others: Mapping[int, Task],
        model: Model,
        fresh: TrainState,
        workdir: str,
        calendar: Calendar,
        *,
        log_context: LogContext = contextlib.nullcontext,
        on_evaluation: OnEvaluation = lambda step, figures: None,
        save_times: SaveTimes | None = None,
    ):
        self.c, self.task, self.others, self.model, self.calendar = c, task, others, model, calendar
        self.log_context, self._on_evaluation = log_context, on_evaluation
        self._save_times = save_times or SaveTimes(0.0)
        keep = max(2, c.train.keep) if self._save_times.interval else c.train.keep
        # The state itself is given away to the compiled loop.
        self._like = outcome.shapes(distributed.local(fresh.params))
        self._best: tuple | None = None
        with contextlib.ExitStack() as stack:
            self.directory = RunPaths(workdir)
            with distributed.shared_fate():
                if distributed.first():
                    stack.enter_context(RunDirectory(workdir, ADDED)).guard(
                        c.to_dict(), lambda: outcome.check_texts(task, self.directory)
                    )
                    self.directory.stopped.unlink(missing_ok=True)
            distributed.check_shared(self.directory.config)
            with log_context():
                self.checkpoints = stack.enter_context(Checkpoints(self.directory.checkpoints, keep))
                self._recorder: Recorder | None = None
                with distributed.shared_fate():
                    if distributed.first():
                        self._recorder = stack.enter_context(
                            Recorder(self.directory.root, tensorboard=c.train.tensorboard)
                        )
                        self._trackers = stack.enter_context(
                            Trackers(c.train.track, self.directory.root, c.to_dict())
                        )
                        outcome.announce(task, model, fresh.params, self.directory)
                self._restore(fresh)
                if self.step:
                    _log.info(
                        "going on from step %d of %d in %s", self.step, calendar.total, self.directory.root
                    )
            self._open = stack.pop_all()

    def _restore(self, fresh: TrainState, most: int | None = None) -> None:
        """Takes the state of the newest good checkpoint, or `fresh`; the metrics go back to its step."""
        found = self.checkpoints.restore_latest(fresh, most)
        self.state: TrainState = fresh if found is None else found[0]
        self.host = NEW_RUN | (found[1] if found else {})
        with distributed.shared_fate():
            if self._recorder is not None:
                self._recorder.rewind(self.step, self.host["evaluated"])

    def roll_back(self, fresh: TrainState, step: int) -> None:
        """Returns to the checkpoint of `step`, or where that is 0 to `fresh`.

        Raises:
          UserError: there is no checkpoint of that step.
        """
        with self.log_context():
            self._restore(fresh, step)
            if self.step != step:
                raise UserError(
                    f"{self.directory.root} has no checkpoint of step {step}, at which the runs of its group "
                    "stopped: train it on its own"
                )
            _log.info("back to step %d, where the other runs of its group stopped", step)

    @property
    def step(self) -> int:
        """Windows done."""
        return int(self.state.step)

    def finished(self) -> bool:
        """Whether there is nothing more to train: the last step, the task solved, or patience at its end."""
        if self.step == self.calendar.total:
            return True
        if self.c.train.stop_when_solved and self.host["solved_step"] is not None:
            return True
        history = self.host["history"]
        if not self.c.train.patience or not history:
            return False
        finite = [math.inf if math.isnan(loss) else loss for loss in history]
        return len(finite) - 1 - finite.index(min(finite)) >= self.c.train.patience

    def evaluation_due(self) -> bool:
        """Whether the state is to be evaluated before the run goes on."""
        return self.calendar.evaluation_due(self.step) and self.host["evaluated"] < self.step

    def judge(self, figures: Mapping[str, float]) -> str:
        """Records an evaluation of the state, begins averaging where that is due, and saves.

        Returns:
          One line about it.

        Raises:
          Stopped: `on_evaluation` wants no more; why is in stopped.json.
        """
        step = self.step
        self.host = judged(self.host, step, self.task, figures)
        self._record(step, "valid", epoch=self.calendar.epochs_done(step), **figures)
        if self.host["best_step"] == step:
            self._best = (step, self.state.evaluation_params(), dict(figures))
        self.state = begin_averaging(self.c, self.state, self.host)
        self.save(force=self.finished())
        try:
            self._on_evaluation(step, figures)
        except Stopped as reason:
            if self._save_times.interval:
                self.save(force=True)
            self.checkpoints.wait()
            write_json(self.directory.stopped, {"step": step, "reason": str(reason)})
            _log.info("stopped at step %d: %s", step, reason)
            raise
        return summary(self.calendar, step, figures, self.host)

    def learning_rate(self) -> float:
        """Sets the learning rate of the next windows, and returns it."""
        rate = optim.learning_rate(
            self.calendar.epoch(self.step), self.host["history"], self.c.train.epochs, **self.c.optim
        )
        self.state = self.state.replace(opt_state=optim.set_learning_rate(self.state.opt_state, rate))
        return rate

    def advance(
        self, state: TrainState, sums: Mapping[str, float], seconds: float, rate: float
    ) -> dict[str, float]:
        """Takes the state after some windows and records their sums; saves where that is due.

        Args:
          state: the new one.
          sums: see `state.make_update`, as Python numbers.
          seconds: this run's share of the time that they took.
          rate: the learning rate.

        Returns:
          The row of the metrics.

        Raises:
          UserError: a loss or gradient that is not finite; the checkpoints before it stand.
        """
        if int(state.bad_step) >= 0:
            if self._save_times.interval:  # what is not on the disk is still good: the state before
                self.save(force=True)
            self.checkpoints.wait()
            raise UserError(
                f"the loss or its gradient was not finite at step {int(state.bad_step)}: the checkpoints "
                "before it stand; start in another --workdir with a smaller optim.learning_rate or a smaller "
                "optim.clip"
            )
        self.state = state
        step = self.step
        self.host = self.host | {"seconds": self.host["seconds"] + seconds}
        row = train_row(self.task, dict(sums), seconds)
        self._record(step, "train", epoch=self.calendar.epochs_done(step), learning_rate=rate, **row)
        if self.calendar.save_due(step) and not self.calendar.evaluation_due(step):
            self.save()
        return row

    def _record(self, step: int, kind: str, **values: Any) -> None:
        """Adds a row to the metrics, in the process that writes them."""
        with distributed.shared_fate():
            if self._recorder is not None:
                self._recorder.write(step, kind, **values)
                self._trackers.write(step, kind, values)

    def save(self, *, force: bool = False) -> None:
        """Saves the best parameters and the state, if it is time; in the background."""
        if not force and not self._save_times.due(self.step):
            return
        if self._best is not None:
            self.checkpoints.save_best(*self._best)
            self._best = None
        self.checkpoints.save_latest(self.step, self.state, self.host)

    def close(self) -> None:
        """Ends the saves, closes the files and gives the directory back; the second time it does nothing."""
        self._open.close()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def finish(self, interrupts: Interrupts, evaluators: outcome.Evaluators) -> dict[str, Any]:
        """Final figures, pictures and result.json; see `results.finish`."""
        return outcome.finish(
            self.c,
            self.task,
            self.others,
            self.model,
            self._like,
            self.directory,
            interrupts,
            evaluators,
            step=self.step,
            host=self.host,
        )


def judged(host: dict[str, Any], step: int, task: Task, figures: Mapping[str, float]) -> dict[str, Any]:
    """The host's state after an evaluation at `step`; a NaN is never the best and solves nothing."""
    loss = figures[next(iter(task.chance))]
    host = host | {"history": [*host["history"], loss], "evaluated": step}
    if host["solved_step"] is None and task.solved and all(c.met(figures) for c in task.solved):
        host = host | {"solved_step": step}
    return host | {"best": loss, "best_step": step} if loss < host["best"] else host


def begin_averaging(c: ConfigDict, state: TrainState, host: dict[str, Any]) -> TrainState:
    """Switches averaging on once validation has been non-monotone for long enough; never off."""
    if not c.optim.average or bool(state.averaging):
        return state
    if optim.averaging_from(host["history"], c.optim.average_after) is None:
        return state
    _log.info("averaging the weights from step %d on", int(state.step))
    return state.replace(averaging=~state.averaging)


def train_row(task: Task, sums: dict[str, float], seconds: float) -> dict[str, float]:
    """What a training row says of the windows since the last one: token-weighted means."""
    tokens, windows = sums.pop("tokens"), sums.pop("windows")
    norm = sums.pop("gradient_norm") / windows
    means = {name: value / tokens for name, value in sums.items()}
    figures = task.report({next(iter(task.chance)): means.pop("task")})
    return {**means, **figures, "gradient_norm": norm, "tokens_per_second": tokens / seconds}


def summary(calendar: Calendar, step: int, figures: Mapping[str, float], host: Mapping[str, Any]) -> str:
    """One line about an evaluation."""
    mark = " (best)" if host["best_step"] == step else ""
    shown = ", ".join(f"{name} {figures[name]:.4g}" for name in outcome.shown(figures))
    return f"epoch {calendar.epochs_done(step):.2f}, step {step}: valid {shown}{mark}"
