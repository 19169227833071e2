"""What a search came to: a table of its best trials, and optuna's own figures."""

import collections
import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_jax.sweep.search.study import need_optuna
from lstm_jax.sweep.table import number

__all__ = ["draw", "table"]


def table(trials: Sequence[Mapping[str, Any]], metric: str, direction: str, most: int = 10) -> str:
    """The best trials, a line each, and what became of the others.

    Args:
      trials: as `run.records` gives them.
      metric: the one sought.
      direction: "minimize" or "maximize".
      most: lines.
    """
    sign = -1 if direction == "maximize" else 1
    ranked = sorted((t for t in trials if t["state"] == "complete"), key=lambda t: sign * t["value"])
    counts = collections.Counter(trial["state"] for trial in trials)
    last = ", ".join(f"{count} {what}" for what, count in counts.items())
    if not ranked:
        return f"no trial is complete: {last}" if last else "no trials"
    names = list(dict.fromkeys(name for trial in ranked for name in trial["params"]))
    shorts = {name: name.rpartition(".")[2] for name in names}
    if len(set(shorts.values())) < len(names):
        shorts = {name: name for name in names}
    head = ["trial", f"valid {metric.replace('_', ' ')}", "test", *shorts.values()]
    rows = [
        [
            trial["run"],
            number(trial["value"]),
            number(trial.get("test")),
            *(_shown(trial["params"].get(name)) for name in names),
        ]
        for trial in ranked[:most]
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]
    ]
    return "\n".join([*lines, last])


def _shown(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """For optuna calls its figures experimental each time, and chooses a style for all of the process."""
    import matplotlib.pyplot as plt

    with warnings.catch_warnings(), plt.style.context("default"):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            plt.close("all")


def _unwind(figure: Any) -> None:
    """Gives the colour bar, which optuna draws over the last of many axes, a place of its own."""
    *axes, bar = figure.axes
    figure.suptitle("")
    for one in axes:
        one.margins(x=0.12)
        one.tick_params(axis="x", labelsize=8)
    figure.subplots_adjust(left=0.08, right=0.9, bottom=0.15, wspace=0.15)
    place = axes[-1].get_position()
    bar.set_position((place.x1 + 0.015, place.y0, 0.012, place.height))
    bar.set_aspect("auto")


def draw(study: Any, metric: str, directory: str | os.PathLike[str]) -> list[Path]:
    """Draws how the best came about, what mattered, and each setting against the metric.

    Args:
      study: optuna's.
      metric: for the axes.
      directory: of the figures; made when missing.

    Returns:
      The files; fewer where there are too few trials for a figure.
    """
    optuna = need_optuna()
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    label = f"valid {metric.replace('_', ' ')}"
    names = set().union(*(trial.params for trial in complete)) if complete else set()
    drawn: dict[str, tuple[Callable[[Any], Any], int]] = {
        "history": (lambda plots: plots.plot_optimization_history(study, target_name=label), 1),
        "importances": (
            lambda plots: plots.plot_param_importances(
                study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(), target_name=label
            ),
            4 if len(names) > 1 else 10**9,
        ),
        "slices": (lambda plots: plots.plot_slice(study, target_name=label), 2),
    }
    files = []
    Path(directory).mkdir(parents=True, exist_ok=True)
    for name, (plot, least) in drawn.items():
        if len(complete) < least:
            continue
        with _quiet():
            import matplotlib.pyplot as plt
            from optuna.visualization import matplotlib as plots

            plot(plots)
            figure = plt.gcf()
            figure.set_size_inches(max(6.4, 3.2 * len(names)) if name == "slices" else 6.4, 4.0)
            if name == "slices":
                _unwind(figure)
            file = Path(directory) / f"{name}.png"
            figure.savefig(file, dpi=150, bbox_inches="tight")
            files.append(file)
    return files
