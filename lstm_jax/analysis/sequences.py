"""A picture of one sequence of a task: what goes in at each step, and what is asked for where."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lstm_jax.analysis.style import COLOURS, headline, new_figure, tidy
from lstm_jax.support.errors import UserError
from lstm_jax.tasks.base import Task

__all__ = ["Example", "example", "figure"]


class Example(NamedTuple):
    """One sequence of T real steps.

    Attributes:
      inputs: [T] tokens, or [T, D] features.
      targets: [T] classes, or [T, O] values.
      scored: [T] bool, where the target is asked for.
    """

    inputs: np.ndarray
    targets: np.ndarray
    scored: np.ndarray


def example(task: Task, *, split: str = "valid", step: int = 0, row: int = 0) -> Example:
    """Row `row` of the batch at `step` of a split, cut to its own length.

    Raises:
      UserError: the batch has no such row.
    """
    bucket = int(task.bucket(task.data, split, step))
    batch = task.batch(task.data, split, step, bucket)
    steps, rows = batch.inputs.shape[:2]
    if not 0 <= row < rows:
        raise UserError(f"row={row}: the batch of the split {split!r} has the rows 0 to {rows - 1}")
    end = steps if batch.lengths is None else int(batch.lengths[row])
    weights = np.ones(steps) if batch.weights is None else np.asarray(batch.weights)[:, row]
    inputs, targets = (np.asarray(leaf)[:end, row] for leaf in (batch.inputs, batch.targets))
    return Example(inputs, targets, weights[:end] > 0)


def figure(shown: Example, *, outputs: Sequence[str] = (), title: str = "") -> Figure:
    """Inputs above, targets below at the steps that are scored; time along.

    Args:
      shown: the sequence.
      outputs: names of the classes, from 0 up; none: their numbers.
      title: above the figure.
    """
    drawing = new_figure(3.3)
    headline(drawing, title)
    upper, lower = drawing.subplots(2, 1, sharex=True, height_ratios=[1.7, 1])
    steps = np.arange(len(shown.inputs))
    for at in steps[shown.scored]:
        for axes in (upper, lower):
            axes.axvspan(at - 0.5, at + 0.5, color=COLOURS["orange"], alpha=0.18, linewidth=0, zorder=0)
    _series(upper, steps, shown.inputs, COLOURS["blue"], "input")
    _series(lower, steps[shown.scored], shown.targets[shown.scored], COLOURS["vermilion"], "target")
    if len(outputs):
        lower.set_yticks(range(len(outputs)), list(outputs))
        lower.set_ylim(-0.7, len(outputs) - 0.3)
    lower.set_xlabel("time (steps); shaded where an answer is scored", fontsize=9)
    lower.set_xlim(-0.5, len(steps) - 0.5)
    lower.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    drawing.align_ylabels()
    return drawing


def _series(axes: Axes, steps: np.ndarray, values: np.ndarray, colour: str, what: str) -> None:
    """Tokens as squares, features as one line each."""
    tidy(axes)
    if np.issubdtype(values.dtype, np.integer) and values.ndim == 1:
        size = float(np.clip(900 / max(len(steps), 1), 6, 36))
        axes.scatter(steps, values, marker="s", s=size, color=colour, linewidth=0, zorder=3)
        low, high = (int(values.min()), int(values.max())) if len(values) else (0, 1)
        axes.set_ylim(low - 0.7, high + 0.7)
        if high - low < 4:  # matplotlib would put ticks between whole numbers
            axes.set_yticks(range(low, high + 1))
        else:
            axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_ylabel(f"{what}\n({'token' if what == 'input' else 'class'})", fontsize=9)
        return
    columns = values.reshape(len(values), -1).T
    for number, column in enumerate(columns):
        axes.plot(
            steps, column, color=colour if number == 0 else COLOURS["green"], linewidth=1.0, markersize=4,
            marker="os^D"[number % 4], label=f"{what} {number + 1}", zorder=3,
        )  # fmt: skip
    if len(columns) > 1:
        # Above the axes: values that fill their range leave no corner free.
        axes.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 0.98), ncols=len(columns))
    axes.set_ylabel(f"{what}\n(value)", fontsize=9)
    axes.margins(y=0.25)
