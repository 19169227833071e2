"""The page: template.html filled with the comparison, styles, scripts and plotly.js, all in one file."""

import collections
import datetime
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lstm_jax.support.errors import UserError
from lstm_jax.sweep.comparison import Comparison, name_of
from lstm_jax.sweep.report.chart import Section, plain
from lstm_jax.sweep.report.charts import sections
from lstm_jax.sweep.table import columns, number

__all__ = ["render", "write"]

HERE = Path(__file__).parent
FILES = ("result.json", "curves.png", "metrics.jsonl", "run.log", "failure.json")
"""What of a member is linked, where it is there."""
CHOICES = 24
"""Values of a field that a person can choose from; a field with more is chosen from by numbers."""


def _libraries() -> tuple[Any, str]:
    """(jinja2, plotly.js).

    Raises:
      UserError: the extra is not installed.
    """
    try:
        import jinja2
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise UserError(
            f"the page needs {error.name}: pip install -e '.[report]', or take the table and the figures "
            "alone: --nopage"
        ) from error
    return jinja2, get_plotlyjs()


def _link(path: Path, base: Path) -> str:
    """The address of `path` in a page that lies in `base`."""
    return quote(Path(os.path.relpath(path, base)).as_posix(), safe="/")


def _counts(values: Sequence[Any]) -> str:
    """The values with how many runs have each, where there are several."""
    counted = collections.Counter(str(value) for value in values if value)
    if len(counted) < 2:
        return next(iter(counted), "unknown")
    return "; ".join(f"{value} ({count} runs)" for value, count in counted.most_common())


def _facts(c: Comparison) -> list[tuple[str, str]]:
    """What a reader must know of where the figures come from."""
    done = [row for row in c.members if row["status"] == "finished"]
    commits = [
        f"{row['commit'][:12]}{', with changes that were not committed' if row['dirty'] else ''}"
        for row in done
        if row.get("commit")
    ]
    dates = sorted(str(row["date"])[:16].replace("T", " ") for row in done if row.get("date"))
    versions = c.record.get("versions", {})
    command = c.record.get("command") or (
        f"python experiments/sweep.py --config={c.record.get('config_file') or '?'} (by its config; what "
        "was typed is not recorded)"
    )
    task = c.record["base"].get("task", {}).get("name", "")
    levels = {number(run["chance"]) for run in c.runs if run["chance"] is not None}
    facts = [
        ("task", name_of(task)),
        ("metric", f"test {name_of(c.metric)}, best {'high' if c.high else 'low'}"),
        ("chance level", levels.pop() if len(levels) == 1 else "differs between runs" if levels else ""),
        ("seeds", ", ".join(map(str, sorted({row["seed"] for row in c.members})))),
        ("config", c.record.get("config_file", "")),
        ("command", command),
        ("commit", _counts(commits) if commits else str(c.record.get("commit", "unknown"))),
        ("hardware", _counts([row["hardware"] for row in done if row.get("hardware")])),
        ("ended", " to ".join(dict.fromkeys([dates[0], dates[-1]])) + " UTC" if dates else ""),
        ("training time", f"{sum(row['seconds'] for row in done):,.0f} s, sum over runs" if done else ""),
        (
            "versions",
            ", ".join(f"{name} {v}" for name, v in versions.items() if name in ("jax", "flax", "optax")),
        ),
    ]
    return [(name, text) for name, text in facts if text]


def _config(c: Comparison) -> list[tuple[str, str]]:
    """Returns every field of the base config; the swept ones first, with their values."""
    swept: dict[str, list[str]] = {}
    for member in c.record["members"]:
        for name, value in member["overrides"].items():
            swept.setdefault(name, []).append(json.dumps(value))
    found = []

    def walk(section: Mapping[str, Any], prefix: str) -> None:
        for key, value in section.items():
            name = prefix + key
            if isinstance(value, Mapping):
                walk(value, f"{name}.")
            elif name in swept:
                distinct = list(dict.fromkeys(swept[name]))
                more = f", ... ({len(distinct)} values)" if len(distinct) > CHOICES else ""
                found.append((name, f"swept: {', '.join(distinct[:CHOICES])}{more}"))
            else:
                found.append((name, json.dumps(value)))

    walk(c.record["base"], "")
    return sorted(found, key=lambda pair: not pair[1].startswith("swept:"))


def _members(c: Comparison, base: Path) -> list[dict[str, Any]]:
    """A row a member, with its links."""
    found = []
    for row in c.members:
        where = c.paths.member(row["name"])
        done = row["status"] == "finished"
        value = row["figures"]["test"].get(c.metric) if done else None
        found.append(
            {
                "name": row["name"],
                "labels": [row["labels"].get(name) for name in _fields(c)],
                "seed": row["seed"],
                "status": "not begun" if row["status"] == "new" else row["status"],
                "value": number(value) if value is None or math.isfinite(value) else str(value),
                "key": value if value is not None and math.isfinite(value) else None,
                "solved": row.get("solved"),
                "solved_step": row.get("solved_step"),
                "seconds": row.get("seconds"),
                "error": row.get("error", ""),
                "links": [(f, _link(where / f, base)) for f in FILES if (where / f).exists()],
            }
        )
    return found


def _fields(c: Comparison) -> list[str]:
    return [*c.fields, *([c.length] if c.length and len(c.lengths) > 1 else [])]


def _choosers(c: Comparison) -> list[dict[str, Any]]:
    """What the runs can be chosen by: a list of values, or a range of numbers."""
    found = []
    for place, field in enumerate([*_fields(c), "seed"]):
        values = [row["seed"] if field == "seed" else row["labels"].get(field) for row in c.members]
        distinct = list(dict.fromkeys(value for value in values if value is not None))
        if len(distinct) < 2:
            continue
        numeric = all(isinstance(value, int | float) for value in distinct)
        found.append(
            {
                "place": place,
                "name": name_of(field),
                "values": sorted(distinct) if numeric else distinct,
                "range": numeric and len(distinct) > CHOICES,
            }
        )
    return found


def _pictures(c: Comparison, made: Sequence[Section], base: Path) -> list[list[tuple[str, str]]]:
    """The figures for print, (name, address): of each section, and last those of none."""
    files = sorted(c.paths.figures.glob("*.png"))
    found = [[file for file in files if file.stem.startswith(section.pictures)] for section in made]
    left = [file for file in files if not any(file in mine for mine in found)]
    return [[(file.name, _link(file, base)) for file in mine] for mine in [*found, left]]


def render(c: Comparison, base: str | os.PathLike[str] = "", title: str = "") -> str:
    """The page as text.

    Args:
      c: what is shown.
      base: the directory that the page will lie in, which its links start from; "" is the sweep's.
      title: its heading; "" is the sweep's name.

    Raises:
      UserError: jinja2 or plotly is not installed.
    """
    jinja2, plotly = _libraries()
    where = Path(base or c.paths.root).absolute()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made = sections(c)
    members = _members(c, where)
    pictures = _pictures(c, made, where)
    states = collections.Counter(row["status"] for row in members)
    data = {
        "charts": {chart.id: chart.figure for section in made for chart in section.charts},
        "members": [[str(value) for value in [*row["labels"], row["seed"]]] for row in members],
        "names": [
            f"{plain(row['name'])}<br>{row['value'] if row['error'] == '' else 'failed'}" for row in members
        ],
    }
    now = datetime.datetime.now(datetime.timezone.utc)  # noqa: UP017
    return environment.get_template("template.html").render(
        title=title or c.paths.root.name,
        facts=_facts(c),
        states=states,
        columns=columns(c.groups) if c.groups else [],
        groups=c.groups,
        metric=f"test {name_of(c.metric)}",
        sections=list(zip(made, pictures, strict=False)),
        pictures=pictures[-1],
        fields=[name_of(field) for field in _fields(c)],
        choosers=_choosers(c),
        criterion=c.criterion,
        members=members,
        failed=[row for row in members if row["status"] == "failed"],
        config=_config(c),
        files=[
            (name, _link(c.paths.root / name, where))
            for name in ("summary.csv", "members.csv", "summary.json", "sweep.json")
            if (c.paths.root / name).exists()
        ],
        run_files=FILES,
        data=data,
        style=jinja2.utils.markupsafe.Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=jinja2.utils.markupsafe.Markup((HERE / "page.js").read_text(encoding="utf-8")),
        plotly=jinja2.utils.markupsafe.Markup(plotly),
        now=now.strftime("%Y-%m-%d %H:%M UTC"),
    )


def write(c: Comparison, file: str | os.PathLike[str] = "", title: str = "") -> Path:
    """Writes the page by one rename and returns its path.

    Args:
      c: what is shown.
      file: where; "" is report.html in the sweep's directory.
      title: its heading; "" is the sweep's name.

    Raises:
      UserError: an extra is missing, or the file cannot be written.
    """
    path = Path(file).expanduser().absolute() if file else c.paths.root / "report.html"
    temporary = path.with_name(path.name + ".tmp")
    text = render(c, path.parent, title)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another --out") from error
    return path
