"""How far what a run learned of a memory task carries: its figures at other lengths of the task."""

from lstm_jax import evaluate, tasks
from lstm_jax.analysis import recall
from lstm_jax.analysis.instruments.base import Instrument, Measurement, Options, Progress, title_of
from lstm_jax.predict import Run
from lstm_jax.support.errors import UserError

__all__ = ["RECALL"]

TIMES = (0.25, 0.5, 1, 1.5, 2, 3, 4, 8)
"""Lengths that are tried by themselves, in units of that of training."""
FROM_NONE = (10, 20, 50, 100)
"""Those where training had a length of 0, which has no multiples."""


def _lengths(run: Run, options: Options) -> list[int]:
    trained = run.config["task"]["length"]
    asked = options.lengths or (tuple(round(times * trained) for times in TIMES) if trained else FROM_NONE)
    return sorted({length for length in asked if length >= 1} | {trained})


def _measure(run: Run, options: Options, progress: Progress) -> Measurement:
    section, seed = run.config["task"], run.config.get("seed", 0)
    lengths = _lengths(run, options)
    metric = _metric(run)
    found, chances, bounds = {}, {}, {}
    for number, length in enumerate(lengths):
        try:
            task = tasks.make_task(**{**section, "length": length}, epochs=1, seed=seed)
        except UserError:
            if length in options.lengths:
                raise
            continue  # a length of ours that the task cannot have
        if (task.vocab, task.input_dim, task.outputs) != (
            run.task.vocab,
            run.task.input_dim,
            run.task.outputs,
        ):
            raise UserError(
                f"at length {length} the task {run.task_name!r} needs another model: it has no curve"
            )
        found[length] = evaluate.make_evaluator(task, run.model, options.split)(run.params)
        chances[length] = task.chance
        for criterion in task.solved:
            if criterion.metric == metric:
                bounds[length] = criterion.bound
        progress(number + 1, len(lengths))
    curve = recall.recall(
        {length: [figures] for length, figures in found.items()},
        metric,
        {length: chance[metric] for length, chance in chances.items()},
    )
    cell = run.config["model"]["cell"]["name"]
    figure = recall.figure(
        {cell: curve},
        metric=metric,
        length=f"length of {str(run.task_name).replace('_', ' ')} (steps)",
        trained=section["length"],
        bound=bounds or None,
        title=f"{title_of(run)}: recall by length ({options.split})",
    )
    lines = [
        f"length {length}: {metric} {value:.4g} (chance {chance:.4g})"
        for length, value, chance in zip(curve.lengths, curve.middle, curve.chance, strict=True)
    ]
    values = {
        "split": options.split,
        "metric": metric,
        "figures": found,
        "chance": chances,
        "solved_at": bounds,
    }
    return Measurement({"": figure}, values, lines)


def _metric(run: Run) -> str:
    """What counts for solving the task; else the accuracy, else the loss."""
    chance = run.task.chance
    solved = [criterion.metric for criterion in run.task.solved if criterion.metric in chance]
    return solved[0] if solved else "accuracy" if "accuracy" in chance else next(iter(chance))


def _unsupported(run: Run) -> str | None:
    if "length" in run.config.get("task", {}):
        return None
    return f"the task {run.task_name!r} has no length that could be varied"


RECALL = Instrument(_measure, "figures of a memory task at other lengths than that of training", _unsupported)
