"""The source files of Python's own library: text that every full installation brings along.

They differ from one version of Python to the next, so figures on them compare runs under one version only.
"""

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from lstm_jax.support.errors import UserError

__all__ = ["modules", "version"]

LEFT_OUT = {
    *("site-packages", "dist-packages", "lib-dynload", "__pycache__"),  # not of the library, or no text
    *("test", "tests", "idle_test"),  # many installations come without
    *("encodings", "pydoc_data"),  # tables
    *("distutils", "lib2to3"),  # gone since Python 3.12 and 3.13
}
"""Directories that are not entered."""


def modules() -> Iterator[tuple[str, str]]:
    """(path within the library, source text) of each module, in alphabetical order.

    Raises:
      UserError: this Python was installed without the sources of its library.
    """
    library = Path(sysconfig.get_paths()["stdlib"])
    count = 0
    for directory, inner, files in os.walk(library):
        inner[:] = sorted(set(inner) - LEFT_OUT)
        for file in sorted(files):
            path = Path(directory, file)
            if path.suffix == ".py" and not file.startswith("_sysconfigdata"):
                count += 1
                yield path.relative_to(library).as_posix(), path.read_text("utf-8", errors="replace")
    if count < 100:
        raise UserError(
            f"the Python at {sys.executable} comes without the sources of its library (in {library}): use a "
            "full installation of Python, or task.source=files with texts of your own"
        )


def version() -> str:
    """The version of this Python, "3.11.7"."""
    return ".".join(map(str, sys.version_info[:3]))
