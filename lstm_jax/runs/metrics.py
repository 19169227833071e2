"""What a run measured: metrics.jsonl, the same as TensorBoard events, and result.json."""

import errno
import io
import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lstm_jax.runs.directory import RunPaths, read_object, write_json
from lstm_jax.support.errors import UserError

__all__ = ["Recorder", "read_metrics", "read_result", "write_result"]

_log = logging.getLogger(__name__)


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray | jax.Array) and np.ndim(value) == 0:
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"metric {name!r} is a {type(value).__name__}; a row holds numbers, text and None")


def _parse(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "step" in row and "kind" in row else None


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl, oldest first, each `{"step": int, "kind": str, name: value, ...}`.

    A torn last line, as a kill leaves one, is passed over; a bad line elsewhere is too, with a warning.

    Args:
      path: the file, or the directory of the run.

    Raises:
      UserError: there is no such file, or it cannot be read.
    """
    path = Path(path)
    path = RunPaths(path).metrics if path.is_dir() else path
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError as error:
        raise UserError(
            f"there is no {path}: give the workdir of a training run, or its metrics.jsonl"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        row = _parse(line)
        if row is not None:
            rows.append(row)
        elif line.strip() and number < len(lines):  # the last piece has no newline: it may be torn
            _log.warning("%s: line %d is no row of metrics and is passed over", path, number)
    return rows


class Recorder:
    """Appends rows to metrics.jsonl, and their numbers to TensorBoard under the tag `kind/name`.

    Use it as a context manager. Each row is on its way to the disk when `write` returns; numbers are
    stored exactly, and inf and nan as Python's json writes them (Infinity, NaN). What is not finite is
    left out of TensorBoard, which cannot draw it.

    Args:
      workdir: the directory of the run; made when missing.
      tensorboard: write event files to `workdir/tensorboard` too.

    Raises:
      UserError: the file cannot be written, or TensorBoard is asked for and tensorboardX is missing.
    """

    def __init__(self, workdir: str | os.PathLike[str], tensorboard: bool = True):
        paths = RunPaths(workdir)
        self.path = paths.metrics
        self._events = paths.tensorboard
        self._tensorboard = tensorboard
        self._purge: int | None = None
        self._writer: Any = None
        if tensorboard:
            try:
                import tensorboardX  # noqa: F401  here and not at the top: it takes two seconds
            except ImportError as error:
                raise UserError(
                    "tensorboardX is not installed: pip install tensorboardX, or train with "
                    "--config.train.tensorboard=False"
                ) from error
        try:
            paths.root.mkdir(parents=True, exist_ok=True)
            self._mend()
            self._file = self._open()
        except OSError as error:
            raise self._failure(error) from error

    def _open(self) -> io.FileIO:
        # Without a buffer, closing after a failed write cannot fail again and hide the first error.
        return open(self.path, "ab", buffering=0)

    def _failure(self, error: OSError) -> UserError:
        return UserError(
            f"cannot write {self.path}: {error.strerror}; free or allow space there and start again"
        )

    def _mend(self) -> None:
        """Ends the file with a whole line, so that the next row does not grow onto a torn one."""
        content = self.path.read_bytes() if self.path.exists() else b""
        whole, newline, last = content.rpartition(b"\n")
        if last and _parse(last.decode(errors="replace")) is not None:
            with open(self.path, "ab") as file:
                file.write(b"\n")
        elif last:
            os.truncate(self.path, len(whole + newline))

    def write(self, step: int, kind: str, **values: Any) -> None:
        """Adds one row.

        Args:
          step: training steps done when this was measured.
          kind: "train", "valid", "test", ...
          **values: numbers (NumPy's and jax's scalars too), text or None, by name.

        Raises:
          UserError: the file cannot be written (a full disk).
        """
        plain = {name: _plain(name, value) for name, value in values.items()}
        row = json.dumps({"step": int(step), "kind": kind, **plain}, ensure_ascii=False) + "\n"
        try:
            if self._file.write(row.encode()) != len(row.encode()):  # as a disk that is filling up does
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise self._failure(error) from error
        if self._tensorboard:
            for name, value in plain.items():
                if isinstance(value, int | float) and math.isfinite(value):
                    self._open_events().add_scalar(f"{kind}/{name}", value, int(step))

    def _open_events(self) -> Any:
        if self._writer is None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(self._events), purge_step=self._purge, flush_secs=10)
        return self._writer

    def rewind(self, step: int, evaluated: int | None = None) -> None:
        """Drops the rows beyond `step`: the resumed run writes them again. TensorBoard is told the same.

        Rows of `step` itself stay: they were written before the state of that step was saved. An evaluation
        may have been written after it, though: of the rows that are not of training, those beyond
        `evaluated`, the last step that the saved state knows to be evaluated, go too.

        Raises:
          UserError: the file cannot be written.
        """
        old = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        last = step if evaluated is None else evaluated
        keep = [
            line
            for line in old
            if (row := _parse(line)) is not None and row["step"] <= (step if row["kind"] == "train" else last)
        ]
        if keep != old[:-1] or old[-1]:
            temporary = self.path.with_name(self.path.name + ".tmp")
            try:
                with open(temporary, "w", encoding="utf-8") as file:
                    file.writelines(line + "\n" for line in keep)
                    file.flush()
                    os.fsync(file.fileno())
                self._file.close()
                os.replace(temporary, self.path)
                self._file = self._open()
            except OSError as error:
                raise self._failure(error) from error
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        # A reader of the event files then drops what an earlier process wrote from this step on.
        self._purge = step + 1

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_result(path: str | os.PathLike[str], result: Mapping[str, Any]) -> None:
    """Writes result.json by one rename. `path`: the directory of the run, or the file.

    Raises:
      UserError: the file cannot be written.
    """
    path = Path(path)
    write_json(RunPaths(path).result if path.is_dir() else path, result)


def read_result(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `write_result` wrote. `path`: the directory of the run, or the file.

    Raises:
      UserError: the run has no result yet, or the file cannot be read.
    """
    path = Path(path)
    path = RunPaths(path).result if path.is_dir() else path
    try:
        return read_object(path, ("figures", "chance", "facts", "config"), "train again to write it anew")
    except FileNotFoundError as error:
        raise UserError(
            f"there is no {path}: the run has not finished; start it again to resume it"
        ) from error
