"""What a search found: a table of its best trials, and figures of how it went."""

import collections
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lstm_jax.analysis.files import PNG, Print, save_figures
from lstm_jax.analysis.marginals import Panel, marginals
from lstm_jax.analysis.style import COLOURS, headline, in_words, log_ticks, new_figure, tidy
from lstm_jax.sweep.search.run import records
from lstm_jax.sweep.search.study import need_optuna
from lstm_jax.sweep.table import number

__all__ = ["draw", "history_figure", "importances_figure", "slices_figure", "table"]

FEWEST = 10
"""Complete trials from which on importances are drawn: of fewer they say nothing."""


def table(trials: Sequence[Mapping[str, Any]], metric: str, direction: str, most: int = 10) -> str:
    """Returns the best trials as text, a line each, and how many ended otherwise.

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


def draw(
    study: Any, metric: str, directory: str | os.PathLike[str], how: Print = PNG, title: str = ""
) -> list[Path]:
    """Draws how the best value came about, which settings matter, and the metric against each setting.

    Args:
      study: optuna's.
      metric: for the axes.
      directory: of the figures; made where it is missing.
      how: formats and width.
      title: above the figures; "" is the study's name.

    Returns:
      The files; fewer where there are too few trials for a figure.
    """
    rows = records(study)
    complete = [row for row in rows if row["state"] == "complete"]
    title = title or in_words(study.study_name)
    figures: dict[str, Figure] = {}
    if complete:
        figures["history"] = history_figure(rows, metric, study.direction.name == "MAXIMIZE", title)
    if shares := _importances(study):
        figures["importances"] = importances_figure(shares, metric, title)
    if len(complete) > 1:
        figures["slices"] = slices_figure(complete, metric, title)
    return save_figures(figures, directory, how)


def history_figure(trials: Sequence[Mapping[str, Any]], metric: str, high: bool, title: str = "") -> Figure:
    """Returns the value of each trial in the order in which they began, and the best so far.

    Args:
      trials: as `run.records` gives them; a pruned one stands at its last evaluation.
      metric: name for the axis.
      high: whether high values are the best.
      title: above the figure.
    """
    figure = new_figure(3.4)
    axes = figure.subplots()
    places: dict[str, list[tuple[int, float]]] = {state: [] for state in ("complete", "pruned", "fail")}
    best: list[tuple[int, float]] = []
    for place, trial in enumerate(trials, 1):
        last = [float(value) for value in trial["evaluations"].values()][-1:]
        if trial["state"] == "complete":
            places["complete"].append((place, trial["value"]))
            pick = max if high else min
            best.append((place, pick([trial["value"], *(value for _, value in best[-1:])])))
        elif trial["state"] == "pruned" and last and math.isfinite(last[0]):
            places["pruned"].append((place, last[0]))
        elif trial["state"] == "fail":
            places["fail"].append((place, math.nan))
    values = [value for some in places.values() for _, value in some if math.isfinite(value)]
    if min(values) > 0 and max(values) / min(values) >= 20:
        axes.set_yscale("log")
        log_ticks(axes.yaxis, min(values), max(values))
    best.append((len(trials), best[-1][1]))
    axes.step(
        *zip(*best, strict=True), where="post", color=COLOURS["vermilion"], linewidth=1.6, label="best so far"
    )
    axes.plot(*zip(*places["complete"], strict=True), linestyle="none", marker="o", markersize=4.5,
              color=COLOURS["blue"], label="complete", zorder=3)  # fmt: skip
    if places["pruned"]:
        axes.plot(*zip(*places["pruned"], strict=True), linestyle="none", marker="v", markersize=5,
                  markerfacecolor="none", color=COLOURS["grey"], label="pruned")  # fmt: skip
    if places["fail"]:
        axes.plot([place for place, _ in places["fail"]], [0.02] * len(places["fail"]), linestyle="none",
                  marker="x", markersize=5, color=COLOURS["black"], label="failed",
                  transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set_xlabel("trial", fontsize=9)
    axes.set_ylabel(f"valid {metric.replace('_', ' ')}", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_xlim(0.4, len(trials) + 0.6)
    tidy(axes)
    headline(figure, title)
    figure.legend(fontsize=8, frameon=False, loc="outside right center")
    return figure


def _importances(study: Any) -> dict[str, float]:
    """Returns the share of each setting in how good a trial is; {} for too few trials."""
    optuna = need_optuna()
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    names = {name for trial in complete for name in trial.params}
    if len(complete) < FEWEST or len(names) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna calls the evaluator experimental each time
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def importances_figure(shares: Mapping[str, float], metric: str, title: str = "") -> Figure:
    """Returns a bar a setting, the most important on top."""
    ranked = sorted(shares.items(), key=lambda pair: pair[1])  # barh draws from below
    figure = new_figure(1.0 + 0.32 * len(ranked), 4.8)
    axes = figure.subplots()
    axes.barh([_short(name) for name, _ in ranked], [share for _, share in ranked], height=0.62,
              color=COLOURS["blue"])  # fmt: skip
    for place, (_, share) in enumerate(ranked):
        axes.annotate(f"{share:.2f}", xy=(share, place), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=8)  # fmt: skip
    axes.set_xlim(0, 1.15 * max(max(shares.values()), 1e-9))
    axes.set_xlabel(f"importance for valid {metric.replace('_', ' ')} (PED-ANOVA)", fontsize=9)
    tidy(axes)
    axes.grid(visible=False, axis="y")
    headline(figure, title)
    return figure


def slices_figure(complete: Sequence[Mapping[str, Any]], metric: str, title: str = "") -> Figure:
    """Returns a panel a setting: the value of each trial against the setting that was trained, sorted."""
    names = list(dict.fromkeys(name for trial in complete for name in _settings(trial)))
    panels = []
    for name in names:
        pairs = [(_settings(trial)[name], trial["value"]) for trial in complete if name in _settings(trial)]
        pairs.sort(key=lambda pair: _order(pair[0]))
        if len({_order(setting) for setting, _ in pairs}) > 1:
            panels.append(Panel(_short(name), [s for s, _ in pairs], [value for _, value in pairs], {}))
    what = f"valid {metric.replace('_', ' ')}\n(complete trials)"
    return marginals(panels, metric=metric, what=what, title=title)


def _settings(trial: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings as they were trained: rounded, and values instead of quantiles."""
    found = {name: value for name, value in trial.get("overrides", {}).items() if name != "seed"}
    return {name: _setting(value) for name, value in (found or trial["params"]).items()}


def _setting(value: Any) -> Any:
    """Returns a number as such, also where the config holds it as text; anything else as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    if isinstance(value, list | tuple) and len(value) == 1:
        return _setting(value[0])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return value


def _order(value: Any) -> tuple[int, float, str]:
    """Sorts numbers by size, before names by the alphabet."""
    return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))


def _short(name: str) -> str:
    return name.removesuffix(" (quantile)").rpartition(".")[2].replace("_", " ")
