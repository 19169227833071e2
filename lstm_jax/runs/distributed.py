"""Several processes that train one run: `jax.distributed`, and what they must agree on.

Every process runs the same program on its share of the devices; what one of them decides alone (to stop, to
give up, that an evaluation is the best so far) would leave the others waiting in the next exchange. So they
agree: `agreed` on a number, `from_first` on figures, `shared_fate` on failures. With one process all of these
cost nothing and do nothing.

The coordinator is process 0, whose address all are given; on SLURM, Open MPI, Kubernetes and TPU pods
`jax.distributed.initialize` finds address, number and index itself. Process 0 alone writes the run's
directory, but for the checkpoints, in which all take part: it must lie on a file system that all share. A
process that is killed takes the others with it (jax ends them once its heartbeats have stayed away for
HEARTBEAT seconds); the same command then goes on from the newest checkpoint, with another number of processes
too.
"""

import contextlib
import json
import logging
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import numpy as np

from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Tree

__all__ = [
    "Alone",
    "agreed",
    "check_same",
    "check_shared",
    "count",
    "exchanged",
    "first",
    "from_first",
    "local",
    "shared_fate",
    "start",
]

HEARTBEAT = 100
"""Seconds without a sign of life after which a process counts as dead, and all end."""
MESSAGE = 4096
"""Bytes of a message that is exchanged: one size, so that one program is compiled."""


class Alone(UserError):
    """The other processes did not come. jax goes on waiting for them, and holds up the end of the process."""


def start(coordinator: str = "", processes: int = 0, index: int = -1, timeout: float = 300.0) -> None:
    """Joins the other processes. To be called before anything asks jax for a device.

    Args:
      coordinator: "host:port" of process 0, where it listens; "": as the cluster's environment says.
      processes: how many there are; 0: as the cluster's environment says.
      index: of this one, from 0; -1: as the cluster's environment says.
      timeout: seconds to wait until all have come.

    Raises:
      Alone: some did not come in time.
      UserError: what is missing or wrong.
    """
    host, _, port = coordinator.rpartition(":")
    if coordinator and not (host and port.isdigit()):
        raise UserError(f"--coordinator={coordinator}: write HOST:PORT of process 0, e.g. 10.0.0.1:8476")
    if processes and not -1 <= index < processes:
        raise UserError(f"--process_id={index} is none of {processes} processes: they count from 0")
    failure: list[BaseException] = []

    def join() -> None:
        try:
            jax.distributed.initialize(
                coordinator or None,
                processes or None,
                None if index < 0 else index,
                initialization_timeout=int(timeout) + 60,  # jax would end the process, with a page of words
                heartbeat_timeout_seconds=HEARTBEAT,
            )
        except BaseException as error:
            failure.append(error)

    # In a thread of its own, for jax waits in C++ where no exception and no signal gets through.
    thread = threading.Thread(target=join, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        who = "this process" if index < 0 else f"process {index} of {processes or 'those'}"
        raise Alone(
            f"after {timeout:g} s not all processes have come to {coordinator or 'the coordinator'} ({who} "
            "has): start all of them, with the same --coordinator, which every machine must be able to reach"
        )
    if failure:
        text = " ".join(str(failure[0]).split())
        raise UserError(
            f"the processes cannot be joined: {text}; outside a cluster that jax knows give --coordinator="
            "HOST:PORT (of process 0), --processes=N and --process_id=0 to N-1"
        ) from failure[0]
    if not first():
        logging.getLogger("lstm_jax").setLevel(logging.WARNING)  # process 0 speaks for all


def count() -> int:
    """The number of processes."""
    return jax.process_count()


def first() -> bool:
    """Whether this is process 0, the one that writes and speaks."""
    return jax.process_index() == 0


def _gathered(row: np.ndarray) -> np.ndarray:
    """The rows of all processes: [N] -> [processes, N]."""
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(row)).reshape(count(), -1)


def agreed(number: int) -> int:
    """The greatest of all processes' numbers (int32)."""
    return number if count() == 1 else int(_gathered(np.array([number], np.int32)).max())


def exchanged(text: str) -> list[str]:
    """The texts of all processes, by index; each is cut at MESSAGE bytes."""
    if count() == 1:
        return [text]
    row = np.zeros(MESSAGE, np.uint8)
    data = np.frombuffer(text.encode()[:MESSAGE], np.uint8)
    row[: data.size] = data
    return [bytes(own).rstrip(b"\0").decode(errors="replace") for own in _gathered(row).astype(np.uint8)]


def from_first(figures: Mapping[str, float]) -> dict[str, float]:
    """Process 0's figures, to the last bit: decisions that follow from them are then the same everywhere."""
    if count() == 1:
        return dict(figures)
    text = json.dumps(dict(figures)) if first() else ""
    if len(text) > MESSAGE:
        raise ValueError(f"{len(text)} bytes of figures are more than the {MESSAGE} of a message")
    return json.loads(exchanged(text)[0])


@contextlib.contextmanager
def shared_fate() -> Iterator[None]:
    """What stops one process in this block stops all at its end: no other waits for it in vain.

    Nothing in the block may itself wait for the other processes.

    Raises:
      UserError: here what was wrong here; elsewhere the same, with the index of the process that met it.
    """
    if count() == 1:
        yield
        return
    mine: BaseException | None = None
    try:
        yield
    except Exception as error:
        mine = error
    if agreed(mine is not None):
        texts = exchanged("" if mine is None else " ".join(str(mine).split()) or type(mine).__name__)
        if mine is not None:
            raise mine
        index, text = next((index, text) for index, text in enumerate(texts) if text)
        raise UserError(f"process {index}: {text}")


def check_same(what: str, tree: Tree) -> None:
    """Raises UserError, in all processes, where they hold different arrays."""
    if count() == 1:
        return
    crc = 0
    for leaf in jax.tree.leaves(tree):
        crc = zlib.crc32(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data, crc)
    found = exchanged(str(crc))
    if other := [index for index, text in enumerate(found) if text != found[0]]:
        raise UserError(
            f"process {other[0]} has other {what} than process 0: give all processes the same command, data "
            "and versions"
        )


def check_shared(file: Path) -> None:
    """Raises UserError, in all processes, where one of them does not see the file that process 0 wrote."""
    if count() == 1:
        return
    with shared_fate():
        seen = os.listdir(file.parent) if file.parent.is_dir() else []
        if file.name not in seen:
            raise UserError(
                f"{file.parent}, where process 0 writes, is not seen here: give a --workdir on a file system "
                "that all machines share"
            )


def local(tree: Tree) -> Tree:
    """Arrays that every process holds whole, as arrays of this process alone."""
    if count() == 1:
        return tree
    return jax.tree.map(
        lambda leaf: leaf if leaf.is_fully_addressable else leaf.addressable_data(0),
        tree,
    )
