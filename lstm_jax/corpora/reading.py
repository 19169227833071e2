"""Text files and JSON from anyone, with every way in which they can be wrong said in one line."""

import json
from pathlib import Path
from typing import Any

from lstm_jax.support.errors import UserError

__all__ = ["check_unicode", "find_files", "read_json", "read_text"]


def find_files(directory: Path, patterns: tuple[str, ...], corpus: str) -> dict[str, Path]:
    """The files of the three splits, named by the first pattern whose files are all there.

    Args:
      directory: where to look.
      patterns: file names with `{}` for train, valid, test.
      corpus: the corpus's name, for the message.

    Raises:
      UserError: no such directory, or a file is missing.
    """
    if not directory.is_dir():
        wrong = "is not a directory" if directory.exists() else "does not exist"
        raise UserError(
            f"data_dir {str(directory)!r} {wrong}: it should be a directory that holds "
            f"{_wanted(patterns)} of the corpus {corpus!r}"
        )
    choices = [{split: directory / p.format(split) for split in ("train", "valid", "test")} for p in patterns]
    missing = [[path.name for path in files.values() if not path.is_file()] for files in choices]
    best = min(range(len(patterns)), key=lambda i: len(missing[i]))
    if missing[best]:
        raise UserError(
            f"data_dir {str(directory)!r} has no {', '.join(missing[best])}: the corpus {corpus!r} needs "
            f"{_wanted(patterns)}"
        )
    return choices[best]


def _wanted(patterns: tuple[str, ...]) -> str:
    return " or ".join(pattern.format("{train,valid,test}") for pattern in patterns)


def read_text(path: Path) -> str:
    r"""A UTF-8 file as a string: line breaks as "\n", one at the end, no byte order mark.

    Raises:
      UserError: unreadable, not UTF-8 (with the offset of the first wrong byte), with NULs, or empty.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8").removeprefix("\ufeff")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(_not_utf8(path, data, error)) from error
    if "\0" in text:
        raise UserError(
            f"{path} has a NUL character at {text.index(chr(0))}, which no text has; UTF-16 has: convert it "
            f"with iconv -f UTF-16LE -t UTF-8 {path.name}"
        )
    if not text.strip():
        raise UserError(f"{path} is empty: every split needs at least one token")
    text = text.replace("\r\n", "\n")
    return text if text.endswith("\n") else text + "\n"


def _not_utf8(path: Path, data: bytes, error: UnicodeDecodeError) -> str:
    """One line on what the file is instead, and how to convert it."""
    if data.startswith(b"\x1f\x8b"):
        return f"{path} is compressed by gzip: unpack it with gunzip, and give the text"
    encoding = "UTF-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "LATIN1"
    return (
        f"{path} is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start} ({error.reason}); "
        f"convert it, e.g. with iconv -f {encoding} -t UTF-8 {path.name}"
    )


def read_json(text: str) -> Any:
    """The value that some JSON says.

    Raises:
      UserError: it is not JSON, or has a number too long or is nested too deeply for Python.
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        said = str(error)
        if isinstance(error, json.JSONDecodeError):
            said = f"{error.msg} at column {error.colno}"
        raise UserError(f"not JSON ({said})") from error


def _no_constant(name: str) -> None:
    """For NaN and Infinity, which Python reads and JSON has not."""
    raise ValueError(f"{name} is no number")


def check_unicode(text: str, name: str) -> None:
    """Refuses a text with half of a surrogate pair: escapes of JSON can make it, and no file can hold it.

    Raises:
      UserError: `name` has such a character, counted from 1.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{name} is not Unicode: half of a pair at character {error.start + 1}") from error
