"""CSV files that are safe to open in a spreadsheet."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_jax.support.errors import UserError

__all__ = ["FORMULA", "write_csv"]

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Signs with which a spreadsheet takes a cell for a formula."""


def _cell(value: Any) -> Any:
    """Returns the value as a cell, with an apostrophe before what a spreadsheet takes for a formula."""
    if not isinstance(value, str) or not value.lstrip(" ").startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Writes rows by one rename.

    Args:
      path: of the file.
      rows: column -> value; a column that a row lacks stays empty.
      columns: in their order; () takes those of the rows as they come.

    Raises:
      UserError: the file cannot be written.
    """
    rows = list(rows)
    columns = columns or list(dict.fromkeys(name for row in rows for name in row))
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows([{name: _cell(value) for name, value in row.items()} for row in rows])
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free or allow space there") from error
