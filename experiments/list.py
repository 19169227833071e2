"""Lists what the registries hold: `python experiments/list.py cells`."""

import ast
import inspect
import sys
from collections.abc import Callable
from pathlib import Path

from lstm_jax import cli
from lstm_jax.support.errors import UserError
from lstm_jax.support.locations import project_root
from lstm_jax.support.registry import lookup

USAGE = """
Lists cells, tasks, backends or configs, each with the first line of its documentation; or the config fields,
each with its default, its range and its meaning.

  python experiments/list.py cells
  python experiments/list.py fields
  python experiments/list.py configs
"""


def first_line(documented: object) -> str:
    return (inspect.getdoc(documented) or "").partition("\n")[0]


def cells() -> dict[str, str]:
    from lstm_jax.cells import CELLS

    return {name: first_line(factory) for name, factory in CELLS.items()}


def tasks() -> dict[str, str]:
    from lstm_jax.tasks import GENERATORS, TASKS

    return {name: first_line(GENERATORS.get(name, make)) for name, make in TASKS.items()}


def backends() -> dict[str, str]:
    from lstm_jax.unroll import BACKENDS

    return {name: first_line(inspect.getmodule(backend.run)) for name, backend in BACKENDS.items()}


def configs() -> dict[str, str]:
    """Every config file, read without running it."""
    root = project_root() / "configs"
    files = [file for file in sorted(root.rglob("*.py")) if file.name != "__init__.py"]
    return {
        str(file.relative_to(root).with_suffix("")): (
            ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        ).partition("\n")[0]
        for file in files
    }


def comments(source: str) -> dict[str, str]:
    """Dotted field -> the comment beside or above its line of configs/base.py."""
    lines, found = source.splitlines(), {}

    def note(name: str, node: ast.expr, first: int) -> None:
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Call):
            for field in node.args[0].keywords:  # ConfigDict(dict(...))
                note(f"{name}.{field.arg}", field.value, field.lineno)
            return
        above = []
        while lines[first - 2].strip().startswith("# "):
            first -= 1
            above.insert(0, lines[first - 1].strip()[2:])
        found[name] = " ".join([*above, lines[(node.end_lineno or first) - 1].partition("# ")[2]]).strip()

    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            note(node.targets[0].attr, node.value, node.lineno)
    return found


def fields() -> dict[str, str]:
    """Every field of configs/base.py: default, range, and the comment beside it."""
    from configs import base
    from lstm_jax.runs.directory import flat_config
    from lstm_jax.training.fields import RANGES

    meanings = comments(Path(base.__file__).read_text(encoding="utf-8"))
    defaults = dict(flat_config(base.get_config().to_dict()))
    return {
        name: "; ".join(filter(None, [repr(defaults[name]), found.allowed, meanings[name]]))
        for name, found in RANGES.items()
    }


LISTS: dict[str, Callable[[], dict[str, str]]] = {
    "cells": cells,
    "tasks": tasks,
    "backends": backends,
    "configs": configs,
    "fields": fields,
}


def main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        raise UserError(f"give one of {', '.join(LISTS)}")
    sys.path.insert(0, str(project_root()))  # configs import each other as `configs.base`
    rows = lookup(LISTS, arguments[0], "list")()
    width = max(map(len, rows))
    for name, what in rows.items():
        print(f"{name:{width}}  {what}")
    sys.stdout.flush()


if __name__ == "__main__":
    cli.launch(main, USAGE)
