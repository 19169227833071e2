"""Many windows inside one compiled call, on one device or many: jit on a mesh, or pmap."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lstm_jax.errors import UserError
from lstm_jax.notation import Array, Tree
from lstm_jax.registry import check_name
from lstm_jax.state import RunData, TrainState
from lstm_jax.tasks.base import Task

__all__ = ["AXES", "AXIS", "Runner", "make_mesh", "make_runner", "place", "state_shardings"]

AXIS = "batch"
"""Name of the one mesh axis: the global batch is cut along it."""

Runner = Callable[[TrainState, RunData, int], tuple[TrainState, dict[str, Array]]]
"""(state, data, windows) -> (state, sums over those windows). The state is donated."""


def make_mesh(devices: Any = None) -> Mesh:
    """A one-axis mesh over `devices` (all by default)."""
    devices = jax.devices() if devices is None else devices
    # Auto: with Explicit, jax >= 0.11 demands an out_sharding at every contraction.
    return Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))


def check_batch(task: Task, mesh: Mesh) -> None:
    """Raises UserError where the global batch does not divide over the mesh's devices."""
    batch, devices = task.batch_sizes["train"], mesh.size
    if batch % devices:
        lower = max(batch - batch % devices, devices)
        raise UserError(
            f"task.batch={batch} does not divide over {devices} devices: "
            f"use a multiple of {devices}, e.g. task.batch={lower}"
        )


def state_shardings(state: TrainState, mesh: Mesh) -> TrainState:
    """A sharding for each leaf of the state: the carry is cut along the batch, the rest replicated."""
    whole, rows = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))
    shardings = jax.tree.map(lambda _: whole, state)
    return shardings.replace(carry=jax.tree.map(lambda _: rows, state.carry))


def data_shardings(task: Task, mesh: Mesh) -> RunData:
    """A sharding for each leaf of a run's data: cut along the batch where it has one."""
    whole, rows = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))
    leaves = jax.tree.map(lambda _, axis: whole if axis is None else rows, task.data, task.batch_axes)
    return RunData(leaves, whole)  # type: ignore[arg-type]


def place(tree: Tree, shardings: Tree) -> Tree:
    """Copies the tree onto its shardings; the result shares no buffer with `tree`, so it may be donated."""
    return jax.device_put(tree, shardings, may_alias=False)


def _loop(update: Callable) -> Callable:
    """Repeats `update` up to `windows` times, or until a step is not finite."""
    update = jax.jit(update)  # traced once, though named twice below

    def run(state: TrainState, data: RunData, windows: Array) -> tuple[TrainState, dict[str, Array]]:
        shapes = jax.eval_shape(update, state, data)[1]
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        def more(loop: tuple) -> Array:
            done, state, _ = loop
            return (done < windows) & (state.bad_step < 0)

        def body(loop: tuple) -> tuple:
            done, state, sums = loop
            state, new = update(state, data)
            return done + 1, state, jax.tree.map(jnp.add, sums, new)

        _, state, sums = jax.lax.while_loop(more, body, (jnp.zeros((), jnp.int32), state, zeros))
        return state, sums

    return run


def _jit_runner(update: Callable, task: Task, state: TrainState, mesh: Mesh) -> Runner:
    shardings = state_shardings(state, mesh)
    whole = NamedSharding(mesh, PartitionSpec())
    run = jax.jit(
        _loop(update),
        in_shardings=(shardings, data_shardings(task, mesh), whole),
        out_shardings=(shardings, whole),
        donate_argnums=0,
    )
    return lambda state, data, windows: run(state, data, jnp.asarray(windows, jnp.int32))


def _pmap_runner(update: Callable, task: Task, state: TrainState, mesh: Mesh) -> Runner:
    devices = list(mesh.devices.flat)
    axes = jax.tree.map(lambda _: None, state, is_leaf=lambda leaf: leaf is None)
    axes = axes.replace(carry=0)
    data_axes = RunData(jax.tree.map(lambda _, axis: axis, task.data, task.batch_axes), None)  # type: ignore[arg-type]
    run = jax.pmap(
        _loop(update), AXIS, in_axes=(axes, data_axes, None), out_axes=(axes, None), devices=devices
    )

    def split(leaf: Array) -> Array:
        return leaf.reshape(len(devices), leaf.shape[0] // len(devices), *leaf.shape[1:])

    cut = jax.jit(lambda tree: jax.tree.map(split, tree))
    join = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree))
    pieces = jax.tree.map(
        lambda leaf, axis: leaf if axis is None else split(leaf), task.data, task.batch_axes
    )

    def runner(state: TrainState, data: RunData, windows: int) -> tuple[TrainState, dict[str, Array]]:
        data = data._replace(task=pieces)  # already cut for the devices
        state, sums = run(state.replace(carry=cut(state.carry)), data, jnp.asarray(windows, jnp.int32))
        return state.replace(carry=join(state.carry)), sums

    return runner


AXES = {"jit": _jit_runner, "pmap": _pmap_runner}
"""How a step is spread over devices; equal by test."""


def make_runner(axis: str, update: Callable, task: Task, state: TrainState, mesh: Mesh) -> Runner:
    """Compiles `update` (of `state.make_update`) into a loop over many windows.

    Args:
      axis: "jit" (one program over the mesh; the default) or "pmap" (one program a device; the
        update must have been made with axis_name=AXIS).
      update, task, state, mesh: as named; `state` gives structure and shapes only.

    Raises:
      UserError: an unknown axis, or a batch that does not divide over the devices.
    """
    check_name(axis, AXES, "train.axis")
    check_batch(task, mesh)
    return AXES[axis](update, task, state, mesh)
