"""Checkpoints that survive a kill, a full disk and a damaged file, on orbax's CheckpointManager.

- checkpoints/latest/<number>/: the newest `keep` states, to resume from
- checkpoints/best/<number>/: the best parameters, to evaluate and predict with

A checkpoint holds two items: `leaves`, a flat dict from a leaf's name (`params/layers/0/w_h`) to its
array, and `manifest`, a JSON object with the step, each leaf's shape, dtype and CRC-32, and the host's
own dict. Reading the manifest first is what lets an error name the leaf, and the checksum is what tells
damage that still decompresses from a good file. A flat dict of names, and not the state's own
structure, keeps files readable when a NamedTuple is renamed.

`<number>` is the step wherever it can be. orbax drops a save whose number is not beyond the newest, and
replacing a directory of the same name cannot be atomic; so where a step is saved again (after falling
back from a damaged checkpoint, say) it goes under the next free number, and the manifest tells the step.
"""

import errno
import json
import logging
import os
import re
import shutil
import sys
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from lstm_jax.runs import distributed
from lstm_jax.runs.directory import RunPaths
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Params, Tree
from lstm_jax.support.pytrees import named_leaves
from lstm_jax.support.quiet import quiet_libraries

__all__ = ["Checkpoints", "read_best"]

_log = logging.getLogger(__name__)

_TRASH = "trash"
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)


def _one_line(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 120 else text[:120] + "..."  # tensorstore appends its whole configuration


def _write_failure(error: BaseException) -> str | None:
    """The operating system's reason when `error` is a person's to put right (disk full, no permission).

    tensorstore raises ValueError, with the number of the system's error in its text only.
    """
    link: BaseException | None = error
    while link is not None:
        number = link.errno if isinstance(link, OSError) else None
        found = re.search(r"os_error_code='(\d+)'", str(link))
        number = int(found.group(1)) if number is None and found else number
        if number in _CANNOT_WRITE:
            return os.strerror(number)
        link = link.__cause__ or link.__context__
    return None


@contextmanager
def _saving(directory: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = _write_failure(error)
        if reason is None:
            raise
        raise UserError(
            f"cannot save a checkpoint in {directory}: {reason}; the earlier checkpoints stand: free or "
            "allow space there and start the same command again to resume from them"
        ) from error


def _plain(value: Any, where: str) -> Any:
    """`value` in JSON's own types, so that what is read back equals what was given."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where}: key {key!r} is not a string, and JSON would make it one")
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, np.generic | np.ndarray | jax.Array) and np.ndim(value) == 0:
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{where}: {type(value).__name__} cannot be stored as JSON; give numbers, text or lists")


def _dtype(leaf: Any) -> str:
    return str(leaf.dtype) if hasattr(leaf, "dtype") else str(np.asarray(leaf).dtype)


def _crc(value: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)


def _names(tree: Tree) -> dict[str, Any]:
    names = named_leaves(tree)
    if len(names) != len(jax.tree.leaves(tree)):
        raise ValueError(f"two leaves of the tree share a name: {sorted(names)}")
    return names


def _pack(tree: Tree) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays to write and, by name, `[shape, dtype, crc]`; crc None where other processes hold a part."""
    arrays, entries = {}, {}
    for name, leaf in _names(tree).items():
        whole = not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated
        # A copy of our own: orbax writes in the background, and on the CPU np.asarray is a view of the
        # device's buffer, which the next step is free to overwrite when the state is donated to it.
        value: Any = np.array(leaf) if whole else jax.numpy.copy(leaf)
        entries[name] = [list(value.shape), str(value.dtype), _crc(value) if whole else None]
        if value.size:  # orbax refuses arrays without elements; the manifest is enough to rebuild them
            arrays[name] = value
    return arrays, entries


def _place(value: np.ndarray, leaf: Any) -> Any:
    """`value` as the kind of thing `leaf` is, and where `leaf` says."""
    if isinstance(leaf, np.ndarray):
        return value
    if isinstance(leaf, bool | int | float):
        return type(leaf)(value.item())
    # An uncommitted array has a sharding too, but to take it up would pin the value to one device.
    sharding = leaf.sharding if getattr(leaf, "committed", True) else None
    if sharding is None or sharding.is_fully_addressable:
        return jax.device_put(value, sharding)
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


def _check_target(entries: Mapping[str, Any], target: Mapping[str, Any], where: str) -> None:
    """Raises UserError when a leaf is missing, is unknown, or has another shape or dtype."""
    advice = "restore it with the config and the code it was saved with, or choose another workdir"
    for name, leaf in target.items():
        if name not in entries:
            raise UserError(f"the checkpoint in {where} lacks leaf {name!r}, needed by this config: {advice}")
        shape, dtype = tuple(entries[name][0]), entries[name][1]
        if shape != tuple(np.shape(leaf)) or dtype != _dtype(leaf):
            raise UserError(
                f"leaf {name!r} is {dtype}{list(shape)} in the checkpoint in {where}, but this config needs "
                f"{_dtype(leaf)}{list(np.shape(leaf))}: {advice}"
            )
    extra = [name for name in entries if name not in target]
    if extra:
        more = f" and {len(extra) - 1} more" if len(extra) > 1 else ""
        raise UserError(
            f"the checkpoint in {where} has leaf {extra[0]!r}{more}, unknown to this config: {advice}"
        )


@contextmanager
def _no_echo() -> Iterator[None]:
    """Keeps one message off the terminal: orbax reads leaves at once, and when one of them fails the others
    find the event loop closed, of which Python prints a traceback that says nothing.
    """
    hook = sys.unraisablehook

    def quiet(unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            hook(unraisable)

    sys.unraisablehook = quiet
    try:
        yield
    except Exception:
        time.sleep(0.3)  # the others may still be on their way; a damaged checkpoint is rare enough to wait
        raise
    finally:
        sys.unraisablehook = hook


class _Damaged(Exception):
    """A checkpoint that cannot be read whole; the next older one is tried."""


class _Store:
    """One directory of numbered checkpoints of which the newest `keep` are kept."""

    def __init__(self, directory: Path, keep: int, read_only: bool):
        self.directory = directory
        self._read_only = read_only
        self._unwanted: set[int] = set()
        # Several processes meet at barriers, by name: those of one store must not be taken for those of
        # another that is saving at the same time.
        names = ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=directory.name)
        options = ocp.CheckpointManagerOptions(
            multiprocessing_options=names,
            preservation_policy=checkpoint_managers.LatestN(keep),
            # Deletion is then one rename: a kill in the middle of it cannot leave half a checkpoint that
            # is still listed. What lies in the trash is removed at leisure.
            todelete_subdir=None if read_only else _TRASH,
            cleanup_tmp_directories=not read_only,
            read_only=read_only,
            create=not read_only,
        )
        self._manager: ocp.CheckpointManager | None = None
        if not read_only or directory.is_dir():
            with _saving(directory):
                self._manager = ocp.CheckpointManager(directory, options=options)
        self._empty_trash()

    def _empty_trash(self) -> None:
        if not self._read_only and jax.process_index() == 0:
            shutil.rmtree(self.directory / _TRASH, ignore_errors=True)

    def _discard_unwanted(self) -> None:
        """Removes the damaged and the later ones, so that they do not count among the `keep` newest."""
        if self._unwanted and self._manager is not None:
            if jax.process_index() == 0:
                (self.directory / _TRASH).mkdir(exist_ok=True)
                for number in self._unwanted:
                    os.replace(self.directory / str(number), self.directory / _TRASH / str(number))
            if jax.process_count() > 1:
                multihost_utils.sync_global_devices("lstm_jax.runs.checkpoint.discard_unwanted")
            self._unwanted.clear()
            self._manager.reload()
        self._empty_trash()

    def numbers(self) -> list[int]:
        """Newest first; read from the disk, damaged ones included."""
        return sorted(self._manager.all_steps(read=True), reverse=True) if self._manager else []

    def save(self, step: int, tree: Tree, host: Mapping[str, Any]) -> None:
        if self._manager is None or self._read_only:
            raise ValueError(f"the checkpoints in {self.directory} are open for reading only")
        arrays, entries = _pack(tree)
        manifest = {"step": int(step), "leaves": entries, "host": _plain(host, "host")}
        json.dumps(manifest)  # now, and not in the background thread, is the time to fail
        with _saving(self.directory):
            self._manager.wait_until_finished()
            self._discard_unwanted()
            number = distributed.agreed(max([int(step), *(newest + 1 for newest in self.numbers()[:1])]))
            saved = self._manager.save(
                number,
                args=ocp.args.Composite(
                    leaves=ocp.args.PyTreeSave(arrays), manifest=ocp.args.JsonSave(manifest)
                ),
            )
        if not saved:
            raise RuntimeError(f"orbax did not save step {step} as {number} in {self.directory}")

    def restore(self, target: Tree, most: int | None = None) -> tuple[Tree, int, dict[str, Any]] | None:
        """(tree, step, host) of the newest good checkpoint; None when there is none at all.

        With `most`, checkpoints of later steps are passed over, and the next save discards them.
        """
        if self._manager is None:
            return None
        with _saving(self.directory):
            self._manager.wait_until_finished()
        reasons: dict[int, str] = {}
        later: set[int] = set()
        for number in self.numbers():
            try:
                tree, step, host = self._restore(number, target)
            except _Damaged as error:
                reasons[number] = str(error)
                continue
            if most is not None and step > most:
                later.add(number)
                continue
            self._unwanted = later | set(reasons)
            if reasons:
                names = ", ".join(map(str, reasons))
                _log.warning(
                    "checkpoint %s in %s is damaged (%s): falling back to the one of step %d",
                    names, self.directory, reasons[max(reasons)], step,
                )  # fmt: skip
            return tree, step, host
        if reasons:
            raise UserError(
                f"none of the checkpoints in {self.directory} can be read ({', '.join(map(str, reasons))}; "
                f"the newest: {reasons[max(reasons)]}): put back a copy of one, or choose another workdir "
                "(or move this one away) to start from the beginning"
            )
        self._unwanted = later
        return None

    def _restore(self, number: int, target: Tree) -> tuple[Tree, int, dict[str, Any]]:
        assert self._manager is not None
        where = str(self.directory / str(number))
        names = _names(target)
        try:
            manifest = self._manager.restore(
                number, args=ocp.args.Composite(manifest=ocp.args.JsonRestore())
            )["manifest"]
            entries, step, host = manifest["leaves"], int(manifest["step"]), manifest["host"]
        except Exception as error:
            raise _Damaged(_one_line(error)) from error
        _check_target(entries, names, where)  # the person's to put right: no falling back from this
        try:
            as_numpy = ocp.RestoreArgs(restore_type=np.ndarray)
            wanted = {name: as_numpy for name, entry in entries.items() if np.prod(entry[0])}
            with _no_echo():
                values = self._manager.restore(
                    number, args=ocp.args.Composite(leaves=ocp.args.PyTreeRestore(restore_args=wanted))
                )["leaves"]
            for name, (shape, dtype, crc) in entries.items():
                values.setdefault(name, np.zeros(shape, jax.numpy.dtype(dtype)))
                if crc is not None and _crc(values[name]) != crc:
                    raise ValueError(f"the checksum of leaf {name!r} is wrong")
        except Exception as error:
            raise _Damaged(_one_line(error)) from error
        leaves = [_place(values[name], leaf) for name, leaf in names.items()]
        return jax.tree.unflatten(jax.tree.structure(target), leaves), step, host

    def wait(self) -> None:
        if self._manager is not None:
            with _saving(self.directory):
                self._manager.wait_until_finished()

    def close(self) -> None:
        if self._manager is not None:
            manager, self._manager = self._manager, None
            try:
                with _saving(self.directory):
                    manager.wait_until_finished()
            finally:
                manager.close()
                self._empty_trash()


class Checkpoints:
    """The checkpoints of one run: the newest states to resume from, and the best parameters.

    Use it as a context manager: leaving the block waits until what was saved is on the disk. Saves run in
    the background; the arrays may be donated or overwritten as soon as a save has returned. A save that
    failed in the background raises at the next call.

    A checkpoint becomes visible by one rename when it is complete, and older ones are removed only after
    that, so a process may be killed at any moment. Only one process (or one multi-process job) may write a
    directory: see `lstm_jax.runs.directory`.

    Args:
      directory: holds `latest/` and `best/`; made when missing.
      keep: newest states kept; at least 1. With 2 or more, a damaged newest one costs one interval.
      read_only: for a reader beside a run that may still be writing: nothing is made, cleaned or removed.

    Raises:
      UserError: `keep` is below 1, or the directory cannot be written.
    """

    def __init__(self, directory: str | os.PathLike[str], keep: int = 2, *, read_only: bool = False):
        if keep < 1:
            raise UserError(f"train.keep is {keep}: it must be 1 or more, as the newest state is always kept")
        quiet_libraries()
        self.directory = Path(directory).absolute()  # orbax demands an absolute path
        self._latest = _Store(self.directory / "latest", keep, read_only)
        self._best = _Store(self.directory / "best", 1, read_only)

    def save_latest(self, step: int, state: Tree, host: Mapping[str, Any]) -> None:
        """Saves what a resume needs, in the background.

        Args:
          step: training step. Saving a step again stores it anew; the newest save is the one restored.
          state: any pytree of arrays and Python numbers, of any sharding.
          host: the host's own state in JSON's types (text keys); floats come back exactly, inf and nan
            included; tuples come back as lists.

        Raises:
          UserError: this save, or the one before, could not be written (disk full, no permission).
          TypeError: `host` holds something that JSON cannot keep.
        """
        # The state's `host` speaks of the best so far. Were it on the disk before that best itself, a
        # kill between the two would leave a run that believes in parameters nobody has.
        self._best.wait()
        self._latest.save(step, state, host)

    def save_best(self, step: int, params: Params, info: Mapping[str, Any]) -> None:
        """Saves the best parameters so far with `info` (JSON, as `host` in `save_latest`), in the background.

        The one before is removed after the new one is complete.

        Raises:
          UserError, TypeError: as `save_latest`.
        """
        self._best.save(step, params, info)

    def restore_latest(self, target: Tree, most: int | None = None) -> tuple[Tree, dict[str, Any]] | None:
        """The newest good state as `(state, host)`, or None where nothing was ever saved.

        A damaged newest checkpoint is passed over for the next older one, with one warning in the log.

        Args:
          target: a pytree of the state's structure. Each leaf tells shape and dtype, and where the value
            goes: to its sharding where it has one (a ShapeDtypeStruct with a sharding, a committed array),
            else to the default device, uncommitted; a NumPy array or Python number comes back as such. The
            number of devices may differ from the one it was saved on.
          most: the last step that may be restored; later checkpoints are discarded by the next save.

        Raises:
          UserError: there are checkpoints, but none can be read; or a leaf is missing, unknown, or of
            another shape or dtype (named with both; nothing is ever cast).
        """
        found = self._latest.restore(target, most)
        return None if found is None else (found[0], found[2])

    def restore_best(self, target: Tree) -> tuple[Params, dict[str, Any]]:
        """The best parameters as `(params, info)`; `info["step"]` is the step they were saved at.

        Args:
          target: as in `restore_latest`.

        Raises:
          UserError: nothing was saved yet, or as in `restore_latest`.
        """
        found = self._best.restore(target)
        if found is None:
            raise UserError(
                f"there are no best parameters in {self._best.directory}: train until the first evaluation, "
                "or give the workdir of a run that has"
            )
        params, step, info = found
        return params, {**info, "step": step}

    def wait(self) -> None:
        """Returns when everything saved is on the disk. Raises UserError as `save_latest`."""
        self._best.wait()
        self._latest.wait()

    def close(self) -> None:
        """Waits and releases the background threads. Raises UserError as `save_latest`."""
        try:
            self._best.close()
        finally:
            self._latest.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        try:
            self.close()
        except Exception as closing:
            if error is None:
                raise
            # The first failure is the one to report; this one is most often its echo.
            _log.warning("while closing the checkpoints: %s", _one_line(closing))


def read_best(run: str | os.PathLike[str], target: Tree) -> tuple[Params, dict[str, Any]]:
    """The best parameters so far of the run in that directory, as `Checkpoints.restore_best`; it may go on.

    Raises:
      UserError: there are none, or they do not fit `target`.
    """
    with Checkpoints(RunPaths(run).checkpoints, read_only=True) as checkpoints:
        return checkpoints.restore_best(target)
