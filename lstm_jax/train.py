"""One training run, from its config to its result: the whole story in execution order."""

import logging
import math
import time
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from lstm_jax import evaluate, models, optim, parallel, results, tasks
from lstm_jax.checkpoint import Checkpoints
from lstm_jax.errors import UserError
from lstm_jax.events import Calendar
from lstm_jax.interrupts import Interrupted, Interrupts
from lstm_jax.metrics import Recorder
from lstm_jax.models import Model
from lstm_jax.progress import Progress
from lstm_jax.run_directory import RunDirectory
from lstm_jax.state import RunData, TrainState, init_state, make_update, run_data
from lstm_jax.tasks.base import Task

__all__ = ["run"]

log = logging.getLogger(__name__)

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


def run(config: ConfigDict, workdir: str) -> dict[str, Any]:
    """Trains what `config` says in `workdir`, going on from the latest good checkpoint there.

    Returns:
      What result.json holds: figures of the best validation checkpoint, config, provenance.

    Raises:
      UserError: a bad config or bad data, a directory of another run, a loss that is not finite.
      Interrupted: SIGTERM or Ctrl-C came; everything is saved.
    """
    c, sections = config, config.to_dict()
    task = tasks.make_task(**sections["task"], epochs=c.train.epochs, seed=c.seed)
    model = models.make_model(
        vocab=task.vocab,
        input_dim=task.input_dim,
        outputs=task.outputs,
        facts=task.facts,
        **sections["model"],
    )
    others = results.other_lengths(task, sections)
    fresh, advance, data = compile_run(c, task, model)
    calendar = Calendar(task.epoch_ends, c.train.eval_every, c.train.save_every, c.train.steps_per_call)
    validate = evaluate.make_evaluator(task, model, "valid")
    with (
        RunDirectory(workdir) as directory,
        Interrupts() as interrupts,
    ):
        directory.guard(sections)
        with (
            Checkpoints(directory.checkpoints, c.train.keep) as checkpoints,
            Recorder(directory.root, tensorboard=c.train.tensorboard) as recorder,
        ):
            results.announce(task, model, fresh.params, directory)
            state, host = checkpoints.restore_latest(fresh) or (fresh, {})
            host = NEW_RUN | host
            like = results.shapes(fresh.params)  # the state itself is given away to the compiled loop
            step = int(state.step)
            recorder.rewind(step, host["evaluated"])
            if step:
                log.info("going on from step %d of %d in %s", step, calendar.total, directory.root)
            with Progress(calendar.total, step) as progress:
                while True:
                    if calendar.evaluation_due(step) and host["evaluated"] < step:
                        try:
                            figures = validate(state.evaluation_params(), lambda *_: interrupts.check(""))
                        except Interrupted:  # the evaluation is due again when the run goes on
                            leave(checkpoints, state, host, step, interrupts)
                        host = judged(host, step, task, figures)
                        recorder.write(step, "valid", epoch=calendar.epochs_done(step), **figures)
                        progress.say(summary(calendar, step, figures, host))
                        if host["best_step"] == step:
                            checkpoints.save_best(step, state.evaluation_params(), figures)
                        state = begin_averaging(c, state, host)
                        checkpoints.save_latest(step, state, host)
                    if step == calendar.total or enough(c, host):
                        break
                    rate = optim.learning_rate(
                        calendar.epoch(step), host["history"], c.train.epochs, **c.optim
                    )
                    state = state.replace(opt_state=optim.set_learning_rate(state.opt_state, rate))
                    began = time.monotonic()
                    state, sums = advance(state, data, calendar.next_stop(step) - step)
                    totals = {name: float(value) for name, value in jax.device_get(sums).items()}
                    check_finite(state, checkpoints)
                    step = int(state.step)
                    seconds = time.monotonic() - began
                    host = host | {"seconds": host["seconds"] + seconds}
                    row = train_row(task, totals, seconds)
                    recorder.write(step, "train", epoch=calendar.epochs_done(step), learning_rate=rate, **row)
                    progress.update(step, **{name: row[name] for name in results.shown(row)})
                    if calendar.save_due(step) and not calendar.evaluation_due(step):
                        checkpoints.save_latest(step, state, host)
                    if interrupts.signum is not None:
                        leave(checkpoints, state, host, step, interrupts)
        return results.finish(c, task, others, model, like, directory, interrupts, step=step, host=host)


def compile_run(c: ConfigDict, task: Task, model: Model) -> tuple[TrainState, parallel.Runner, RunData]:
    """The state before the first step, the compiled loop over windows, and the data on the devices."""
    mesh = parallel.make_mesh()
    parallel.check_batch(task, mesh)
    key = jax.random.key(c.seed)
    params = model.init(key)
    if c.train.init_from:
        params = results.best_params(c.train.init_from, params)
    penalties = {name: c.objective[name] for name in ("l1", "l2", "penalty", "penalty_mask")}
    optimizer = optim.build(params, **c.optim, **penalties)
    state = init_state(model, optimizer, params, task.batch_sizes["train"], average=c.optim.average)
    if c.optim.average and c.optim.average_after == -1:
        state = state.replace(averaging=~state.averaging)
    update = make_update(
        task,
        model,
        optimizer,
        base_length=base_length(c),
        axis_name=parallel.AXIS if c.train.axis == "pmap" else None,
        **c.objective,
    )
    advance = parallel.make_runner(c.train.axis, update, task, state, mesh)
    state = parallel.place(state, parallel.state_shardings(state, mesh))
    return state, advance, parallel.place(run_data(task, key), parallel.data_shardings(task, mesh))


def base_length(c: ConfigDict) -> int:
    """Tokens of a window at which the learning rate is the one set; 0 where the length does not scale it."""
    if not c.optim.scale_by_length:
        return 0
    if "window" not in c.task:
        raise UserError(
            f"optim.scale_by_length needs windows of a text, and the task is {c.task.name!r}: set it to False"
        )
    return c.task.window


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
    log.info("averaging the weights from step %d on", int(state.step))
    return state.replace(averaging=~state.averaging)


def enough(c: ConfigDict, host: dict[str, Any]) -> bool:
    """Whether the task is solved, or `train.patience` evaluations have passed without a new best."""
    if c.train.stop_when_solved and host["solved_step"] is not None:
        return True
    if not c.train.patience or not host["history"]:
        return False
    finite = [math.inf if math.isnan(loss) else loss for loss in host["history"]]
    return len(finite) - 1 - finite.index(min(finite)) >= c.train.patience


def check_finite(state: TrainState, checkpoints: Checkpoints) -> None:
    """Raises UserError naming the step whose loss or gradient was not finite."""
    bad = int(state.bad_step)
    if bad >= 0:
        checkpoints.wait()
        raise UserError(
            f"the loss or its gradient was not finite at step {bad}: the checkpoints before it stand; "
            "start in another --workdir with a smaller optim.learning_rate or a smaller optim.clip"
        )


def leave(
    checkpoints: Checkpoints, state: TrainState, host: dict[str, Any], step: int, interrupts: Interrupts
) -> None:
    """Saves everything and raises Interrupted."""
    checkpoints.save_latest(step, state, host)
    checkpoints.wait()
    interrupts.check(f"stopped at step {step}, all saved: the same command goes on from here")


def train_row(task: Task, sums: dict[str, float], seconds: float) -> dict[str, float]:
    """What a training row says of the windows since the last one: token-weighted means."""
    tokens, windows = sums.pop("tokens"), sums.pop("windows")
    norm = sums.pop("gradient_norm") / windows
    means = {name: value / tokens for name, value in sums.items()}
    figures = task.report({next(iter(task.chance)): means.pop("task")})
    return {**means, **figures, "gradient_norm": norm, "tokens_per_second": tokens / seconds}


def summary(calendar: Calendar, step: int, figures: dict[str, float], host: dict[str, Any]) -> str:
    """One line about an evaluation."""
    mark = " (best)" if host["best_step"] == step else ""
    shown = ", ".join(f"{name} {figures[name]:.4g}" for name in results.shown(figures))
    return f"epoch {calendar.epochs_done(step):.2f}, step {step}: valid {shown}{mark}"
