"""The directory of one run: its paths, its lock, and the guard on its config.

- config.json: the config it was started with; vocabulary.json: the words, by index
- metrics.jsonl: one row an event; tensorboard/: the same as event files; curves.png: the learning curve;
  lengths.png: a figure at other lengths, where several were asked for
- checkpoints/latest/: states to resume from; checkpoints/best/: parameters to evaluate with
- result.json: the final figures; stopped.json: why there are none, where a search wanted no more of the run
- analysis/: what the instruments found, figures and numbers
"""

import contextlib
import fcntl
import json
import logging
import os
import re
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lstm_jax.support.errors import DirectoryInUse, UserError

__all__ = [
    "MAY_CHANGE",
    "SECTIONS",
    "RunDirectory",
    "RunPaths",
    "config_differences",
    "flat_config",
    "read_object",
    "set_field",
    "write_json",
]

_log = logging.getLogger(__name__)

MAY_CHANGE = (
    r"train\.epochs",  # may grow only
    r"train\.(patience|keep|tensorboard|track|steps_per_call)",
    r"evaluate\..*",
    r"task\.data_dir",
)
"""Fields, as regular expressions, that may differ between the start of a run and its resume."""

SECTIONS = ("task", "model", "objective", "optim", "train", "evaluate")
"""The sections of a config."""
_ABSENT = object()
_NOT_THERE = "(absent)"


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` as JSON by one rename, so that a reader or a kill never meets half a file.

    Several threads, processes and machines may write the same file: each has a name of its own until the
    rename, and the last one stands.

    Raises:
      UserError: the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; free space or choose another workdir"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read_object(path: str | os.PathLike[str], sections: Sequence[str], remedy: str) -> dict[str, Any]:
    """Returns the JSON object in a file that `write_json` wrote, its shape checked.

    Args:
      path: of the file.
      sections: keys whose values are objects, where they are there.
      remedy: what to do about a file that is damaged, for the message.

    Raises:
      FileNotFoundError: there is no such file.
      UserError: it cannot be read, is not JSON, or holds something else than an object.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}): {remedy}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds {_kind(value)} where an object is expected: {remedy}")
    for key in sections:
        if not isinstance(value.get(key, {}), dict):
            raise UserError(f"{path}: {key!r} is {_kind(value[key])} where an object is expected: {remedy}")
    return value


def _kind(value: Any) -> str:
    kinds = {list: "a list", str: "text", bool: "true or false", type(None): "null", dict: "an object"}
    return kinds.get(type(value), "a number")


def flat_config(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of nested dicts by their dotted names."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat_config(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, float) and a != a and b != b:
        return True  # nan is the same setting as nan
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def config_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Fields in which two configs differ: `{"optim.learning_rate": (old, new)}`; "(absent)" where missing.

    Tuples and lists are the same thing here, as they are in JSON; so are 1 and 1.0, but not 1 and True.
    """
    before, after = (dict(flat_config(json.loads(json.dumps(config)))) for config in (old, new))
    found = {}
    for name in [*before, *(name for name in after if name not in before)]:
        a, b = before.get(name, _ABSENT), after.get(name, _ABSENT)
        if not _same(a, b):
            found[name] = tuple(_NOT_THERE if value is _ABSENT else value for value in (a, b))
    return found  # type: ignore[return-value]


def set_field(config: Any, name: str, value: Any) -> None:
    """Sets the field of that dotted name in nested dicts, or in a ConfigDict, in place."""
    *above, last = name.split(".")
    for part in above:
        config = config[part]
    config[last] = value


class RunPaths:
    """Where the parts of a run lie. Makes nothing and locks nothing: it is what a reader of a run uses."""

    def __init__(self, path: str | os.PathLike[str]):
        self.root = Path(path).expanduser().absolute()
        self.config = self.root / "config.json"
        self.vocabulary = self.root / "vocabulary.json"
        self.metrics = self.root / "metrics.jsonl"
        self.tensorboard = self.root / "tensorboard"
        self.checkpoints = self.root / "checkpoints"
        self.curves = self.root / "curves.png"
        self.lengths = self.root / "lengths.png"
        self.result = self.root / "result.json"
        self.stopped = self.root / "stopped.json"
        self.analysis = self.root / "analysis"

    def read_config(self) -> dict[str, Any]:
        """The config of the run, as plain dicts and lists.

        Raises:
          UserError: there is no run here, or its config cannot be read.
        """
        try:
            return read_object(self.config, SECTIONS, "put back a copy, or choose another workdir")
        except FileNotFoundError as error:
            raise UserError(
                f"{self.root} is not the directory of a run (it has no config.json): "
                "give the workdir that a training run was started with"
            ) from error

    def has_checkpoints(self) -> bool:
        """Whether any state was ever saved here (damaged ones count: something is there to lose)."""
        latest = self.checkpoints / "latest"
        return latest.is_dir() and any(entry.name.isdigit() for entry in latest.iterdir())


class RunDirectory(RunPaths):
    """The directory of a run that is about to be written: made when missing, and locked.

    Use it as a context manager; the lock goes with the block, and with the process if it is killed. In a
    job of many processes only process 0 should open it; the others use `RunPaths`.

    Args:
      path: of the directory.
      added: fields that configs have grown since runs were first made -> the value that does what was done
        before; a run made without such a field resumes with that value.

    Raises:
      DirectoryInUse: another run holds the directory.
      UserError: it cannot be made or written.
    """

    def __init__(self, path: str | os.PathLike[str], added: Mapping[str, Any] | None = None):
        super().__init__(path)
        self.added = added or {}
        self._lock: int | None = None
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(
                f"cannot use {self.root} as the workdir: {error.strerror}; choose another directory"
            ) from error
        # flock, not lockf: a second opening in the same process must be refused too.
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise DirectoryInUse(
                f"another run ({holder}) is writing {self.root}: wait for it, stop it, or choose "
                "another workdir"
            ) from None
        except OSError as error:  # a file system without locks, as some network mounts are
            _log.warning("%s cannot be locked (%s): start no second run in it", self.root, error.strerror)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        self._lock = handle

    def guard(self, config: Mapping[str, Any], check: Callable[[], None] = lambda: None) -> bool:
        """Stores the config of a new run, or checks that a resumed one has the same.

        Args:
          config: plain nested dicts (`ConfigDict.to_dict()`).
          check: called where a run is resumed, before anything is written: it may refuse by a UserError.

        Returns:
          True when the directory held a run already.

        Raises:
          UserError: the run was started with another config (every differing field is named, with both
            values), there are checkpoints without a config, or files of something that is no run.
        """
        plain = json.loads(json.dumps(config))
        if not self.config.exists():
            if self.has_checkpoints():
                raise UserError(
                    f"{self.root} has checkpoints but no config.json to check them against: put it back, or "
                    "choose another workdir"
                )
            foreign = [path for path in (self.metrics, self.result, self.curves) if path.exists()]
            if foreign:
                raise UserError(
                    f"{self.root} has a {foreign[0].name} but no config.json: it is not a run, and would "
                    "be overwritten; choose another workdir"
                )
            write_json(self.config, plain)
            return False
        different = {
            name: (old, new)
            for name, (old, new) in config_differences(self.read_config(), plain).items()
            if not (old == _NOT_THERE and name in self.added and _same(self.added[name], new))
        }
        refused = {}
        for name, (old, new) in different.items():
            shrinks = name == "train.epochs" and not (_NOT_THERE not in (old, new) and new > old)
            if shrinks or not any(re.fullmatch(pattern, name) for pattern in MAY_CHANGE):
                refused[name] = (old, new)
        if refused:
            fields = ", ".join(f"{name} (was {old!r}, now {new!r})" for name, (old, new) in refused.items())
            raise UserError(
                f"{self.root} holds a run with another config: {fields}; give the same config to resume it "
                "(train.epochs may grow), or choose another workdir"
            )
        check()
        if different:
            _log.info("resuming with changed fields: %s", ", ".join(different))
            if "train.epochs" in different and plain.get("optim", {}).get("schedule") == "cosine":
                _log.warning(
                    "the cosine schedule now ends at epoch %s: the rate from here on, and so the result, are "
                    "not those of a run that had train.epochs=%s from the start",
                    *[plain["train"]["epochs"]] * 2,
                )
            write_json(self.config, plain)
        return True

    def close(self) -> None:
        """Gives the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
