"""Text from files and standard input for the commands that predict, with every fault in one line."""

import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from lstm_jax.support.errors import UserError

__all__ = ["check_arguments", "open_lines", "read_all", "read_lines"]


def check_arguments(arguments: Sequence[str], run: str) -> None:
    """Raises UserError for arguments that are no flags, and where no run is named."""
    if arguments:
        raise UserError(
            f"unexpected argument {arguments[0]!r}: options are --name=value; quote text that has spaces"
        )
    if not run:
        raise UserError("which run? give --run=DIR, the directory that --workdir was in training; see --help")


def _lines(file: BinaryIO, name: str) -> Iterator[str]:
    with file:
        for number, line in enumerate(file, 1):
            try:
                yield line.decode("utf-8").removeprefix("\ufeff" if number == 1 else "")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{name}, line {number} is not UTF-8 ({error.reason}): convert it, e.g. with "
                    "iconv -t UTF-8"
                ) from error


def read_lines(path: str) -> Iterator[str]:
    """Lines of a UTF-8 file, or of standard input where `path` is empty or "-", as they come.

    Raises:
      UserError: it cannot be read (at once); it is not UTF-8, or nothing but space (on reading).
    """
    file, name = open_lines(path)
    return _not_empty(_lines(file, name), name)


def open_lines(path: str) -> tuple[BinaryIO, str]:
    """A file, or standard input where `path` is empty or "-", as bytes, and its name for messages.

    Raises:
      UserError: it cannot be opened.
    """
    if path in ("", "-"):
        if sys.stdin.isatty():
            print("reading lines from the terminal; Ctrl-D ends them", file=sys.stderr, flush=True)
        return sys.stdin.buffer, "standard input"
    try:
        return open(path, "rb"), path
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _not_empty(lines: Iterator[str], name: str) -> Iterator[str]:
    blank = []  # held back until something follows, so that an error comes before any output
    for line in lines:
        blank.append(line)
        if line.strip():
            break
    else:
        raise UserError(f"{name} is empty: give at least one line of text")
    yield from blank
    yield from lines


def read_all() -> str:
    """The whole of standard input as text, line breaks as they are.

    Raises:
      UserError: it is not UTF-8.
    """
    if sys.stdin.isatty():
        print("reading the prompt from the terminal; Ctrl-D ends it", file=sys.stderr, flush=True)
    return "".join(_lines(sys.stdin.buffer, "standard input")).replace("\r\n", "\n")
