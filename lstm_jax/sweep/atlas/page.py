"""The map of an atlas: a picture, its tables, and one page that opens offline."""

import csv
import html
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lstm_jax.sweep.atlas.plan import Plan
from lstm_jax.sweep.atlas.records import ByBias, Square, by_bias

__all__ = ["by_length", "draw_map", "write"]


def draw_map(squares: Sequence[Sequence[Square]], title: str, value: str = "solved") -> Figure:
    """The map: cells down, tasks across by what they ask for; the shade is a share, a hatch is "not run".

    Args:
      squares: rows of `records.squares`.
      title: above it.
      value: "solved", the share of seeds that solved the task at the trained lengths, or "longer", the mean
        of the criterion's figure over longer lengths.
    """
    rows, columns = len(squares), len(squares[0])
    figure = Figure(figsize=(4.2 + 0.42 * columns, 3.2 + 0.34 * rows), layout="constrained")
    axes = figure.add_subplot()
    shades = np.full((rows, columns), np.nan)
    for i, row in enumerate(squares):
        for j, square in enumerate(row):
            if square.runs:
                shades[i, j] = square.solved / square.runs if value == "solved" else square.longer
                text = f"{square.solved}/{square.runs}" if value == "solved" else _percent(square.longer)
                dark = shades[i, j] > 0.6
                axes.text(
                    j, i, text, ha="center", va="center", fontsize=7, color="white" if dark else "black"
                )
            else:
                axes.add_patch(
                    Rectangle(
                        (j - 0.5, i - 0.5), 1, 1, fill=False, hatch="////", edgecolor="0.75", linewidth=0
                    )
                )
    image = axes.imshow(shades, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_yticks(range(rows), [row[0].cell for row in squares], fontsize=8)
    axes.set_xticks(
        range(columns), [square.task for square in squares[0]], rotation=60, ha="right", fontsize=8
    )
    _groups(axes, squares[0])
    axes.set_title(title, fontsize=10, loc="left", pad=22)
    what = "share of seeds that solved it" if value == "solved" else "mean figure at longer lengths"
    figure.colorbar(image, ax=axes, label=what, shrink=0.8)
    return figure


def _groups(axes: Axes, squares: Sequence[Square]) -> None:
    """Names the groups above the map and parts them by lines."""
    first = 0
    for place in range(1, len(squares) + 1):
        if place < len(squares) and squares[place].group == squares[first].group:
            continue
        axes.text(
            (first + place - 1) / 2, -0.75, squares[first].group, ha="center", fontsize=8, weight="bold"
        )
        if place < len(squares):
            axes.axvline(place - 0.5, color="black", linewidth=1.2)
        first = place


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.0f}"


def by_length(squares: Sequence[Sequence[Square]]) -> Figure:
    """For each task the criterion's figure at the trained and the longer lengths, a line a cell."""
    columns = [j for j in range(len(squares[0])) if any(row[j].runs for row in squares)]
    across = min(5, max(1, len(columns)))
    down = -(-len(columns) // across)
    figure = Figure(figsize=(max(7.0, 2.6 * across), 2.1 * down + 1.6), layout="constrained")
    colours = [f"C{i % 10}" for i in range(len(squares))]
    for place, j in enumerate(columns):
        axes = figure.add_subplot(down, across, place + 1)
        for i, row in enumerate(squares):
            if row[j].runs:
                found = {0: row[j].test, **row[j].by_length}
                xs = list(range(len(found)))
                style = "-" if i < 10 else "--"
                axes.plot(xs, list(found.values()), style, color=colours[i], linewidth=1.2, label=row[j].cell)
        shown = next(row[j] for row in squares if row[j].runs)
        lengths = ["trained", *map(str, shown.by_length)]
        axes.set_xticks(range(len(lengths)), lengths, rotation=60, fontsize=6)
        axes.set_title(f"{shown.task} ({shown.metric})", fontsize=8)
        axes.set_ylim(-0.03, 1.03)
        axes.tick_params(axis="y", labelsize=6)
    handles = [
        (axes.plot([], [], "-" if i < 10 else "--", color=colours[i])[0], row[0].cell)
        for i, row in enumerate(squares)
        if any(square.runs for square in row)
    ]
    figure.legend(*zip(*handles, strict=True), loc="outside lower center", ncols=7, fontsize=7)
    return figure


FIELDS = tuple(name for name in Square._fields if name != "by_length")


def write(
    squares: Sequence[Sequence[Square]],
    plan: Plan,
    records: Sequence[Mapping[str, Any]],
    published: Mapping[str, Sequence[float]],
    out: Path,
) -> list[Path]:
    """Writes map.png, longer.png, lengths.png, squares.csv and map.html into `out`; returns them.

    Args:
      squares: of `records`.
      plan: the whole atlas.
      records: of all members that are finished.
      published: task -> accuracy in % of LSTM, Stack-RNN and Tape-RNN by Deletang et al.
      out: a directory.
    """
    scale = plan.scale
    about = (
        f"scale {plan.name}: layers as large as that of an LSTM of {scale['hidden']} units, "
        f"{scale['steps']:,} steps, B = {scale['batch']}, lengths to {scale['length']}, "
        f"{scale['seeds']} seeds"
    )
    figures = {
        "map.png": draw_map(squares, f"Solved at the trained lengths ({about})"),
        "longer.png": draw_map(
            squares, f"In % right, lengths {scale['longer'][0]} to {scale['longer'][-1]} ({about})", "longer"
        ),
        "lengths.png": by_length(squares),
    }
    out.mkdir(parents=True, exist_ok=True)
    written = []
    drawn = []
    for name, figure in figures.items():
        figure.savefig(out / name, dpi=130)
        written.append(out / name)
        text = io.StringIO()
        figure.savefig(text, format="svg")
        drawn.append(text.getvalue()[text.getvalue().index("<svg") :])
    biases = by_bias(records, plan)
    with (out / "forget_bias.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(ByBias._fields)
        table.writerows(biases)
    with (out / "squares.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([*FIELDS, "by_length"])
        for square in (square for row in squares for square in row if square.runs):
            lengths = " ".join(f"{length}:{figure:.4f}" for length, figure in square.by_length.items())
            table.writerow([*(getattr(square, name) for name in FIELDS), lengths])
    page = _page(squares, plan, records, published, about, drawn, biases)
    (out / "map.html").write_text(page, encoding="utf-8")
    return [*written, out / "squares.csv", out / "forget_bias.csv", out / "map.html"]


STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:1200px;padding:0 1em}"
    "table{border-collapse:collapse;font-size:13px}td,th{padding:2px 8px;border-bottom:1px solid #ddd;"
    "text-align:right}td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}"
)


def _page(
    squares: Sequence[Sequence[Square]],
    plan: Plan,
    records: Sequence[Mapping[str, Any]],
    published: Mapping[str, Sequence[float]],
    about: str,
    drawn: Sequence[str],
    biases: Sequence[ByBias],
) -> str:
    hardware = ", ".join(sorted({str(record["hardware"]) for record in records}))
    commits = ", ".join(sorted({str(record["commit"])[:8] for record in records}))
    facts = f"{len(records):,} runs finished; on {hardware}; commits {commits}; {about}."
    ran = [square for row in squares for square in row if square.runs]
    rows = [
        [
            square.cell,
            square.task,
            f"{square.solved}/{square.runs} [{square.low:.2f}, {square.high:.2f}]",
            _steps(square.median_step),
            f"{square.test:.3f}",
            f"{square.longer:.3f}",
            f"{square.best_longer:.3f}",
            f"{square.rate:g}",
            "" if square.bias is None else f"{square.bias:g}",
            str(square.units),
            f"{square.seconds:.2f}",
        ]
        for square in ran
    ]
    titles = ("cell", "task", "solved [95 %]", "median step", "test", "longer", "best longer", "rate",
              "forget bias", "units", "seconds")  # fmt: skip
    return "\n".join(
        [
            "<!doctype html><html lang=en><meta charset=utf-8><title>Memory atlas</title>",
            f"<style>{STYLE}</style><h1>The memory atlas</h1><p>{html.escape(facts)}</p>",
            "<p>For each seed the trial is the one that is best on valid over the other seeds; what is",
            "reported is that run on test. A hatch is a square that was not run.</p>",
            *drawn,
            "<h2>Beside Deletang et al. 2023</h2><p>Accuracy in % at longer lengths, best of all runs.",
            "Theirs: lengths 41 to 500, hidden 256, up to a million steps, as remembered. Ours:",
            f"lengths {plan.scale['longer'][0]} to {plan.scale['longer'][-1]}, terminator included.</p>",
            _table(*_beside(squares, published)),
            "<h2>Forget bias</h2><p>All rates and seeds with each initial forget bias: runs that solved it,",
            "the median of the steps until then, and the figure at longer lengths.</p>",
            _table(*_biases(biases)),
            "<h2>All squares</h2>",
            _table(titles, rows),
            "</html>\n",
        ]
    )


def _beside(
    squares: Sequence[Sequence[Square]], published: Mapping[str, Sequence[float]]
) -> tuple[list[str], list[list[str]]]:
    ours = {(square.cell, square.task): square for row in squares for square in row}
    cells = [name for name in ("lstm", "stack_rnn", "stack_lstm", "tape_rnn") if (name, "parity") in ours]
    theirs = ["LSTM (theirs)", "Stack-RNN (theirs)", "Tape-RNN (theirs)"]
    rows = [
        [
            task,
            *(_percent(ours[cell, task].best_longer) for cell in cells),
            *(f"{figure:g}" for figure in figures),
        ]
        for task, figures in published.items()
        if any((cell, task) in ours for cell in cells)
    ]
    return ["task", *cells, *theirs], rows


def _biases(found: Sequence[ByBias]) -> tuple[list[str], list[list[str]]]:
    """A row for each cell and task, three columns for each bias."""
    biases = sorted({one.bias for one in found})
    titles = [f"{what}, bias {bias:g}" for bias in biases for what in ("solved", "median step", "longer")]
    rows: dict[tuple[str, str], dict[float, ByBias]] = {}
    for one in found:
        rows.setdefault((one.cell, one.task), {})[one.bias] = one
    cells = [
        [*pair, *(text for bias in biases for text in _bias_texts(own.get(bias)))]
        for pair, own in rows.items()
    ]
    return ["cell", "task", *titles], cells


def _bias_texts(one: ByBias | None) -> tuple[str, str, str]:
    if one is None:
        return "", "", ""
    return f"{one.solved}/{one.runs}", _steps(one.median_step), _percent(one.longer)


def _steps(median: float) -> str:
    return "never" if math.isinf(median) else f"{median:,.0f}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(title)}" for title in titles)
    body = "\n".join("<tr>" + "".join(f"<td>{html.escape(text)}" for text in row) for row in rows)
    return f"<table><tr>{head}\n{body}</table>"
