"""Training, from configs to results: the whole story in execution order, of one run or of several at once."""

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from lstm_jax.runs import distributed
from lstm_jax.runs.interrupts import Interrupted, Interrupts, Stopped
from lstm_jax.runs.progress import Progress
from lstm_jax.support.errors import UserError
from lstm_jax.training import outcome
from lstm_jax.training.calendar import Calendar
from lstm_jax.training.fields import check_fields
from lstm_jax.training.lengths import other_lengths
from lstm_jax.training.program import assemble, compile_run, prepare
from lstm_jax.training.session import LogContext, OnEvaluation, SaveTimes, Session
from lstm_jax.training.state import TrainState

__all__ = ["compile_run", "run", "run_together"]

_log = logging.getLogger(__name__)

Outcome = dict[str, Any] | UserError | Stopped
"""What result.json holds, or why there is none."""


def run(
    config: ConfigDict,
    workdir: str,
    *,
    on_evaluation: OnEvaluation | None = None,
    fewer_devices: bool = False,
) -> dict[str, Any]:
    """Trains what `config` says in `workdir`, going on from the latest good checkpoint there.

    Args:
      config: the run's.
      workdir: its directory.
      on_evaluation: called with the step and figures of each evaluation on valid; it may raise `Stopped`.
      fewer_devices: see `program.compile_run`.

    Returns:
      What result.json holds: figures of the best validation checkpoint, config, provenance.

    Raises:
      UserError: a bad config or bad data, a directory of another run, a loss that is not finite.
      Interrupted: SIGTERM or Ctrl-C came; everything is saved.
      Stopped: as `on_evaluation` raised it; everything is saved, and there is no result.
    """
    (ended,) = run_together(
        [config],
        [workdir],
        on_evaluation=[on_evaluation] if on_evaluation else None,
        fewer_devices=fewer_devices,
    )
    if isinstance(ended, Exception):
        raise ended
    return ended


def run_together(
    configs: Sequence[ConfigDict],
    workdirs: Sequence[str],
    *,
    log_contexts: Sequence[LogContext] | None = None,
    on_evaluation: Sequence[OnEvaluation] | None = None,
    ended: Callable[[int, Outcome], None] = lambda index, outcome: None,
    member_devices: int = 0,
    fewer_devices: bool = False,
    save_interval: float = 0.0,
    absent: Collection[int] = (),
) -> list[Outcome]:
    """Trains runs of one `program.signature` at once, each in its own directory; one run is the plain case.

    Each resumes from its latest good checkpoint. Runs that a kill left further than others of the group go
    back to the step that all have, so that the group takes the very steps of one that was never stopped.

    Args:
      configs: one a run.
      workdirs: one a run.
      log_contexts: what is entered around whatever a run says; None: it is said here, with a bar of progress.
      on_evaluation: one a run, see `run`.
      ended: called with the index of a run and what came of it, as soon as that is known; the directory of
        one that has a result is closed by then.
      member_devices, fewer_devices: see `program.together`.
      save_interval: least seconds between saves, see `SaveTimes`; 0: each save that is due is made.
      absent: indices of runs that have ended: they belong to the program, as when the group began, and are
        not trained.

    Returns:
      By run that is trained, what result.json holds, or why the run had to stop (a loss that is not finite,
      `Stopped`), which stops no other.

    Raises:
      UserError: what is wrong with a config, the data or a directory; nothing was trained.
      Interrupted: SIGTERM or Ctrl-C came; everything is saved.
    """
    c, alone = configs[0], len(configs) == 1
    sections = [config.to_dict() for config in configs]
    for section in sections:
        check_fields(section)
    with distributed.shared_fate():
        made, model = prepare(configs)
        others = [other_lengths(task, section) for task, section in zip(made, sections, strict=True)]
    program = assemble(configs, made, model, member_devices=member_devices, fewer_devices=fewer_devices)
    calendar = Calendar(made[0].epoch_ends, c.train.eval_every, c.train.save_every, c.train.steps_per_call)
    outcomes: dict[int, Outcome] = {}
    with Interrupts(distributed.agreed) as interrupts, contextlib.ExitStack() as stack:
        runs: dict[int, Session] = {}
        save_times = SaveTimes(save_interval, lambda: wait_for_saves(runs))
        for k, (config, task, other, fresh, workdir) in enumerate(
            zip(configs, made, others, program.fresh, workdirs, strict=True)
        ):
            if k in absent:
                continue
            runs[k] = stack.enter_context(
                Session(
                    config, task, other, model, fresh, workdir, calendar,
                    log_context=log_contexts[k] if log_contexts else contextlib.nullcontext,
                    save_times=save_times,
                    on_evaluation=on_evaluation[k] if on_evaluation else lambda step, figures: None,
                )
            )  # fmt: skip
        step = common_step(runs, program.fresh)
        bar = None if alone and distributed.first() else False
        with Progress(calendar.total, step, bar=bar) as progress:
            training = [k for k in runs if runs[k].step == step]
            while True:
                due = [k for k in training if runs[k].evaluation_due()]
                if due:
                    try:
                        params = [runs[k].state.evaluation_params() for k in due]
                        found = program.validate(due, params, lambda *_: interrupts.check(""))
                    except Interrupted:  # the evaluation is due again when the runs go on
                        leave(runs, training, interrupts)
                    for k, figures in zip(due, found, strict=True):
                        with runs[k].log_context():
                            try:
                                progress.say(runs[k].judge(figures))
                            except Stopped as reason:
                                outcomes[k] = reason
                                training.remove(k)
                                ended(k, reason)
                training = [k for k in training if not runs[k].finished()]
                if not training:
                    break
                rates = [runs[k].learning_rate() for k in training]
                windows = calendar.next_stop(step) - step
                began = time.monotonic()
                states, sums = program.advance(training, [runs[k].state for k in training], windows)
                totals = [{name: float(v) for name, v in own.items()} for own in jax.device_get(sums)]
                share = (time.monotonic() - began) / len(training)
                for k, state, own, rate in zip(list(training), states, totals, rates, strict=True):
                    try:
                        row = runs[k].advance(state, own, share, rate)
                    except UserError as error:
                        if alone or int(state.bad_step) < 0:  # nothing that could be saved
                            raise
                        outcomes[k] = error
                        training.remove(k)
                        ended(k, error)
                if not training:
                    break
                step = runs[training[0]].step
                if alone:
                    progress.update(step, **{name: row[name] for name in outcome.shown(row)})
                if interrupts.requested():
                    leave(runs, training, interrupts)
        wait_for_saves(runs)  # before the first result: a kill must not leave some finished, some set back
        evaluators = outcome.Evaluators(model)
        for k, one in runs.items():
            if k not in outcomes:
                with one.log_context():
                    outcomes[k] = one.finish(interrupts, evaluators)
                    one.close()
                ended(k, outcomes[k])
    return [outcomes[k] for k in runs]


def common_step(runs: Mapping[int, Session], fresh: Sequence[TrainState]) -> int:
    """The step from which the runs resume together; those that are further go back to it.

    Runs that had ended their training by then stay where they are.

    Raises:
      UserError: a run has no checkpoint of that step.
    """
    begun = [one.step for one in runs.values() if not one.finished()]
    step = min(begun, default=max(one.step for one in runs.values()))
    for k, one in runs.items():
        if one.step > step:
            one.roll_back(fresh[k], step)
    return step


def wait_for_saves(runs: Mapping[int, Session]) -> None:
    """Returns when all that the runs saved is on the disk."""
    for one in runs.values():
        one.checkpoints.wait()


def leave(runs: Mapping[int, Session], training: Sequence[int], interrupts: Interrupts) -> None:
    """Saves everything and raises Interrupted."""
    for k in training:
        runs[k].save(force=True)
    for k in training:
        runs[k].checkpoints.wait()
    step = runs[training[0]].step
    interrupts.check(f"stopped at step {step}, all saved: the same command goes on from here")
