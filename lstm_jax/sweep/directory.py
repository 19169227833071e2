"""The directory of a sweep.

- sweep.json: base config, members with their overrides, the command that ran last, provenance
- members/NAME/: one full run directory each; run.log: its log; failure.json: why it failed; group.json: the
  members that it trains with
- compiled/: programs that the members share; may be deleted
- summary.json, summary.csv, members.csv, figures/, report.html: the outcome
"""

import datetime
import json
import logging
import os
import re
import shlex
import shutil
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lstm_jax
from lstm_jax.runs.directory import RunDirectory, RunPaths, config_differences, write_json
from lstm_jax.runs.provenance import commit_of, versions
from lstm_jax.support.errors import DirectoryInUse, UserError
from lstm_jax.support.registry import check_name
from lstm_jax.sweep.define import Sweep

__all__ = [
    "KEEP",
    "SweepPaths",
    "drop_checkpoints",
    "read_failure",
    "read_group",
    "record_failure",
    "record_group",
    "status",
    "still_in_use",
]

_log = logging.getLogger(__name__)

MAY_CHANGE = r"train\.(keep|tensorboard|track|steps_per_call)|task\.data_dir"
"""Fields of the base config that may differ when a sweep is resumed: they change no figure."""
KEEP = ("best", "all", "none")
"""Which checkpoints of a finished member stay."""
FORMAT = 1
LOOK = 0.2
"""Seconds between looks at a directory that another process writes."""


class SweepPaths:
    """Where the parts of a sweep lie; makes nothing."""

    def __init__(self, path: str | os.PathLike[str]):
        self.root = Path(path).expanduser().absolute()
        self.record = self.root / "sweep.json"
        self.members = self.root / "members"
        self.compiled = self.root / "compiled"
        self.figures = self.root / "figures"
        self.summary = self.root / "summary.json"
        self.workers_log = self.root / "workers.log"

    def member(self, name: str) -> Path:
        """The run directory of a member."""
        return self.members / name

    def read(self) -> dict[str, Any]:
        """Returns what sweep.json holds.

        Raises:
          UserError: there is no sweep here, or the file cannot be read or is no record of a sweep.
        """
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UserError(
                f"{self.root} is not the directory of a sweep (it has no sweep.json): give the --workdir "
                "that experiments/sweep.py was started with"
            ) from error
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(
                f"{self.record} cannot be read ({error}): put back a copy, or choose another workdir"
            ) from error
        if problem := _misshapen(record):
            raise UserError(
                f"{self.record} is no record of a sweep: {problem}; put back a copy, or choose "
                "another workdir"
            )
        return record

    def guard(self, sweep: Sweep, config_file: str = "", keep: str = "all") -> None:
        """Stores a new sweep, or checks that a resumed one is the same; members may be added.

        Which checkpoints a member retains (`drop_checkpoints`) was fixed when it was last in training: a
        finished member keeps the old value, the others get `keep`. Checkpoints that a finished member has
        beyond that, as after a kill between its result and their removal, are removed.

        Raises:
          UserError: the directory holds another sweep, or a run; the difference is named.
        """
        old = self.read() if self.record.exists() else {"members": []}
        kept = {member["name"]: member.get("keep", "all") for member in old["members"]}
        finished = {m.name for m in sweep.members if status(self.member(m.name)) == "finished"}
        record = {
            "format": FORMAT,
            "config_file": config_file,
            "length": sweep.length,
            "length_label": sweep.length_label,
            "metric": sweep.metric,
            "baseline": sweep.baseline,
            "command": shlex.join(["python", *sys.argv]),
            "members": [
                {
                    "name": m.name,
                    "seed": m.seed,
                    "labels": m.labels,
                    "overrides": m.overrides,
                    "keep": kept.get(m.name, "all") if m.name in finished else keep,
                }
                for m in sweep.members
            ],
            "base": sweep.base.to_dict(),
        }
        plain = json.loads(json.dumps(record))
        if self.record.exists():
            _check_same(self.root, old, plain)
        elif RunPaths(self.root).config.exists():
            raise UserError(
                f"{self.root} is the directory of a run, not of a sweep: choose another --workdir"
            )
        self.members.mkdir(parents=True, exist_ok=True)
        write_json(self.record, plain | _origin())
        for name in finished:
            drop_checkpoints(self.member(name), kept.get(name, "all"))


_RECORD: dict[str, tuple[type, ...]] = {
    "members": (list,),
    "base": (dict,),
    "length": (str,),
    "length_label": (str,),
    "metric": (str,),
}
_MEMBER: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "seed": (int,),
    "labels": (dict,),
    "overrides": (dict,),
}
"""What sweep.json must hold, and each of its members: key -> type."""


def _misshapen(record: Any) -> str:
    """Returns what is wrong with the shape of a sweep's record, "" where nothing is."""

    def check(where: str, value: Any, keys: Mapping[str, tuple[type, ...]]) -> str:
        if not isinstance(value, dict):
            return f"{where} is a {type(value).__name__}, not an object"
        for key, types in keys.items():
            if not isinstance(value.get(key), types) or isinstance(value.get(key), bool):
                found = type(value[key]).__name__ if key in value else "missing"
                return f"{where}: {key!r} must be a {types[0].__name__}, and is {found}"
        return ""

    problem = check("the file", record, _RECORD)
    for index, member in enumerate(record["members"] if not problem else ()):
        problem = problem or check(f"members[{index}]", member, _MEMBER)
        if not problem and ("/" in member["name"] or member["name"] in ("", ".", "..")):
            problem = f"members[{index}]: {member['name']!r} is no name of a member"
    return problem


def _origin() -> dict[str, Any]:
    """Commit, versions and date; not the hardware, which only who trains may ask for: it takes the device."""
    commit, dirty = commit_of(lstm_jax.__file__)
    now = datetime.datetime.now(datetime.timezone.utc)  # noqa: UP017
    return {
        "commit": commit,
        "dirty": dirty,
        "versions": versions(),
        "date": now.isoformat(timespec="seconds"),
    }


def _check_same(root: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    before, after = ({member["name"]: member for member in record["members"]} for record in (old, new))
    differing = []
    always = set.intersection(*(set(member["overrides"]) for member in after.values()))
    for name, (was, now) in config_differences(old["base"], new["base"]).items():
        if name not in always and not re.fullmatch(MAY_CHANGE, name):
            differing.append(f"{name} (was {was!r}, now {now!r})")
    for name in before.keys() & after.keys():
        for field, (was, now) in config_differences(
            before[name]["overrides"], after[name]["overrides"]
        ).items():
            differing.append(f"{field} of {name} (was {was!r}, now {now!r})")
    gone = [name for name in before if name not in after]
    if gone:
        added = [name for name in after if name not in before]
        fresh = f"; it has {added[0]} instead" if added else ""
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        differing.append(f"member {gone[0]}{more} is no part of this sweep{fresh}")
    if differing:
        raise UserError(
            f"{root} holds another sweep: {', '.join(differing)}; give the same sweep to resume it (members "
            "may be added), or choose another --workdir"
        )


def status(directory: str | os.PathLike[str]) -> str:
    """How far the run of a member is: "finished", "failed", "unfinished" or "new"."""
    paths = RunPaths(directory)
    if paths.result.exists():
        return "finished"
    if (paths.root / "failure.json").exists():
        return "failed"
    return "unfinished" if paths.config.exists() else "new"


def still_in_use(directories: Sequence[Path], seconds: float) -> list[Path]:
    """Returns the runs that another process is still writing after so many seconds.

    A sweep that is killed leaves its workers behind: they see that it is gone, save at the end of the
    compiled call that they are in, and stop.
    """
    until, logged, busy = time.monotonic() + seconds, False, list(directories)
    while busy := [directory for directory in busy if _in_use(directory)]:
        if time.monotonic() >= until:
            break
        if not logged:
            _log.info(
                "%d member(s) are being written by another process, as after a kill: waiting up to %g s for "
                "it to save and stop",
                len(busy), seconds,
            )  # fmt: skip
            logged = True
        time.sleep(LOOK)
    return busy


def _in_use(directory: Path) -> bool:
    if not directory.exists():
        return False
    try:
        RunDirectory(directory).close()
    except DirectoryInUse:
        return True
    except UserError:  # training meets it again, and reports it of the member
        return False
    return False


def record_failure(directory: str | os.PathLike[str], error: BaseException | str) -> None:
    """Writes failure.json: kind, message, and for what is no UserError the traceback.

    Raises:
      UserError: the file cannot be written.
    """
    known = isinstance(error, UserError)
    trace = [] if known or isinstance(error, str) else traceback.format_exception(error)
    kind = "WorkerDied" if isinstance(error, str) else type(error).__name__
    message = " ".join(str(error).split()) or kind
    Path(directory).mkdir(parents=True, exist_ok=True)
    write_json(
        Path(directory) / "failure.json",
        {"kind": kind, "error": message, "traceback": "".join(trace), **_origin()},
    )


def read_failure(directory: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Returns what `record_failure` wrote; None where there is nothing, or nothing that can be read."""
    try:
        found = json.loads((Path(directory) / "failure.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return found | {name: str(found.get(name, "unknown")) for name in ("kind", "error")}


def record_group(directory: str | os.PathLike[str], names: Sequence[str]) -> None:
    """Writes group.json: the members, in order, that the one of `directory` trains with.

    Raises:
      UserError: the file cannot be written.
    """
    Path(directory).mkdir(parents=True, exist_ok=True)
    write_json(Path(directory) / "group.json", {"members": list(names)})


def read_group(directory: str | os.PathLike[str]) -> list[str]:
    """Returns the names that `record_group` wrote; [] where there are none, or they cannot be read."""
    try:
        names = json.loads((Path(directory) / "group.json").read_text(encoding="utf-8"))["members"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


def drop_checkpoints(directory: str | os.PathLike[str], keep: str) -> None:
    """Removes the checkpoints of a finished run but those of `keep`: best (parameters only), all, none."""
    check_name(keep, KEEP, "value of --keep:")
    checkpoints = RunPaths(directory).checkpoints
    if keep == "best":
        shutil.rmtree(checkpoints / "latest", ignore_errors=True)
    elif keep == "none":
        shutil.rmtree(checkpoints, ignore_errors=True)
