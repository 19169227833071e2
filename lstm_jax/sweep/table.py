"""The comparison as a table: one set of columns for the terminal and for the page."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lstm_jax.sweep.baseline import named, varying
from lstm_jax.sweep.statistics import FEWEST, INTERVAL, NARROW
from lstm_jax.tasks.scores import best_high

__all__ = ["Column", "columns", "failures", "number", "table"]

Group = Mapping[str, Any]


class Column(NamedTuple):
    """A column of the table.

    Attributes:
      title: above it.
      cells: a text a row.
      keys: what the rows are sorted by: numbers, texts, or None where a row has nothing there.
      note: what the column is, in a sentence; "" where the title is enough.
      label: whether it names the variant of a row.
      marks: "better" or "worse" where a row's interval excludes no difference and has pairs enough, else "";
        () where that is no matter of the column.
    """

    title: str
    cells: list[str]
    keys: list[Any]
    note: str = ""
    label: bool = False
    marks: Sequence[str] = ()


def number(value: float | None, sign: bool = False, digits: int = 4) -> str:
    """So many significant digits; "-" where there is none."""
    if value is None:
        return "-"
    return f"{value:{'+' if sign and value else ''}.{digits}g}"


def _interval(mean: float | None, low: float | None, high: float | None, sign: bool = False) -> str:
    bounds = "" if low is None else f" [{number(low, sign, 3)}, {number(high, sign, 3)}]"
    return number(mean, sign) + bounds


def _counted(group: Group) -> str:
    """Returns over how many runs the mean is, of how many, and how the others ended."""
    text = f"{group['counted']} of {group['members']}"
    why = {
        "failed": group["failed"],
        "unfinished": group["members"] - group["finished"] - group["failed"],
        "diverged": group["finished"] - group["counted"],
    }
    lost = ", ".join(f"{count} {what}" for what, count in why.items() if count)
    return f"{text} ({lost})" if lost else text


def _solved(group: Group) -> str:
    total = group["finished"] + group["failed"]
    if not total:
        return "-"
    return f"{group['solved']}/{total} [{group['solved_low']:.2f}, {group['solved_high']:.2f}]"


def columns(found: Sequence[Group]) -> list[Column]:
    """The columns that fit the groups of `summary.groups`; labels that are the same in all are left out."""
    made = []
    for name in varying([group["labels"] for group in found]):
        values = [group["labels"].get(name) for group in found]
        texts = ["" if value is None else str(value) for value in values]
        made.append(Column(name.replace("_", " "), texts, values, label=True))
    metric = (found[0]["metric"] or "metric").replace("_", " ")

    def column(title: str, text: Any, key: str, note: str = "") -> None:
        made.append(Column(title, [text(group) for group in found], [group[key] for group in found], note))

    if any(group["solved"] is not None for group in found):
        column(
            "solved [95 %]", _solved, "solved",
            "Runs that met the task's criterion on valid, of those that ended; failed ones count as not "
            "solved. Wilson's interval of the share.",
        )  # fmt: skip
        column(
            "median step",
            lambda g: (
                f"{g['median_step']:,.0f}"
                if g["median_step"] is not None
                else "never"
                if g["finished"] + g["failed"]
                else "-"
            ),
            "median_step",
            "Median of the training steps until it was solved; a run that was not counts as never.",
        )
    column(
        f"test {metric} [95 %]", lambda g: _interval(g["mean"], g["low"], g["high"]), "mean",
        f"Mean over seeds of the checkpoint that is best on valid, and its interval: {INTERVAL}. {NARROW}",
    )  # fmt: skip
    column("median", lambda g: number(g["median"]), "median", f"Median over seeds of test {metric}.")
    column("n", _counted, "counted", "Over how many of how many members mean and median are.")
    with_what = [group["compared_with"] for group in found if group["compared_with"] is not None]
    if with_what:
        shared = [name for name in with_what[0] if len({str(one.get(name)) for one in with_what}) == 1]
        shown = varying([group["labels"] for group in found])
        title = named({name: with_what[0][name] for name in shared if name in shown}) or "baseline"
        column(
            f"minus {title} [95 %]",
            lambda g: (
                "baseline"
                if g["compared_with"] is None and _is_baseline(g, with_what)
                else _interval(g["difference"], g["difference_low"], g["difference_high"], sign=True)
            ),
            "difference",
            "Mean of the differences, seed by seed, to the baseline that agrees in all else, and the "
            f"interval of that mean: {INTERVAL}. {NARROW} Better or worse is marked from {FEWEST} pairs on. "
            "Not corrected for the number of comparisons.",
        )  # fmt: skip
        made[-1] = made[-1]._replace(marks=[_mark(group) for group in found])
        column("pairs", lambda g: "" if g["pairs"] is None else str(g["pairs"]), "pairs",
               "Seeds that both have: the pairs that the difference is over.")  # fmt: skip
    column("parameters", lambda g: "-" if g["parameters"] is None else f"{g['parameters']:,}", "parameters")
    column(
        "seconds", lambda g: "-" if g["seconds"] is None else f"{g['seconds']:,.0f}", "seconds",
        "Training time of a run, mean over seeds; runs may have shared the machine.",
    )  # fmt: skip
    return made


def _mark(group: Group) -> str:
    """Whether the interval of the difference lies on one side of 0, and which; "" of too few pairs."""
    low, high = group["difference_low"], group["difference_high"]
    if low is None or low <= 0 <= high or group["pairs"] < FEWEST:
        return ""
    return "better" if (low > 0) == best_high(group["metric"]) else "worse"


def _is_baseline(group: Group, with_what: Sequence[Mapping[str, Any]]) -> bool:
    return any(dict(group["labels"]) == dict(other) for other in with_what)


def failures(members: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each member that failed, with its reason, and one for those that are not finished."""
    lines = [f"failed {row['name']}: {row['error']}" for row in members if row["status"] == "failed"]
    left = [row["name"] for row in members if row["status"] in ("unfinished", "new")]
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        lines.append(f"not finished, {len(left)} of {len(members)} members: {', '.join(left[:3])}{more}")
    return lines


def table(found: Sequence[Group], width: int = 0) -> str:
    """The groups as text in columns, and below them what is to be known of the intervals of few seeds.

    Args:
      found: as `summary.groups` gives them.
      width: of the terminal: where the table is wider, its columns go into several blocks, each with the
        variants in front; 0 is as wide as it is.
    """
    if not found:
        return "no members"
    made = columns(found)
    front, rest = ([c for c in made if c.label is label] for label in (True, False))
    blocks: list[list[Column]] = [[]]
    for column in rest:
        if width and blocks[-1] and _width([*front, *blocks[-1], column]) > width:
            blocks.append([])
        blocks[-1].append(column)
    few = any(group["low"] is not None and group["counted"] < FEWEST for group in found)
    below = ["\n".join(textwrap.wrap(NARROW, width or len(NARROW)))] if few else []
    return "\n\n".join([*(_block([*front, *block]) for block in blocks), *below])


def _column_width(column: Column) -> int:
    return max(map(len, [column.title, *column.cells]))


def _width(some: Sequence[Column]) -> int:
    return sum(_column_width(column) + 2 for column in some) - 2


def _block(some: Sequence[Column]) -> str:
    lines = []
    for row in range(-1, len(some[0].cells)):
        texts = []
        for column in some:
            text = column.title if row < 0 else column.cells[row]
            wide = _column_width(column)
            texts.append(text.ljust(wide) if column.label else text.rjust(wide))
        lines.append("  ".join(texts).rstrip())
    return "\n".join(lines)
