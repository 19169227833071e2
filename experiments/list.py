"""Lists what the registries hold: `python experiments/list.py cells`."""

import ast
import inspect
import sys
from collections.abc import Callable

from lstm_jax import cli
from lstm_jax.support.errors import UserError
from lstm_jax.support.locations import project_root
from lstm_jax.support.registry import lookup

USAGE = """
Lists cells, tasks, backends or configs, each with the first line of its documentation.

  python experiments/list.py cells
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


LISTS: dict[str, Callable[[], dict[str, str]]] = {
    "cells": cells,
    "tasks": tasks,
    "backends": backends,
    "configs": configs,
}


def main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        raise UserError(f"give one of {', '.join(LISTS)}")
    rows = lookup(LISTS, arguments[0], "list")()
    width = max(map(len, rows))
    for name, what in rows.items():
        print(f"{name:{width}}  {what}")
    sys.stdout.flush()


if __name__ == "__main__":
    cli.launch(main, USAGE)
