"""Many windows inside one compiled call, on one device or many: jit on a mesh, or pmap; many runs at once."""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Tree
from lstm_jax.support.registry import check_name
from lstm_jax.tasks.base import Task
from lstm_jax.training.state import RunData, TrainState

__all__ = [
    "AXES",
    "AXIS",
    "MEMBERS",
    "Runner",
    "check_batch",
    "data_shardings",
    "devices_for",
    "fitting_mesh",
    "make_members_runner",
    "make_mesh",
    "make_runner",
    "place",
    "stack_unshared",
    "state_shardings",
]

_log = logging.getLogger(__name__)

AXIS = "batch"
"""Name of the mesh axis along which the global batch is cut."""
MEMBERS = "members"
"""Name of the mesh axis along which runs that are trained together are cut; of length 1 for one run."""

Runner = Callable[[TrainState, RunData, int], tuple[TrainState, dict[str, Array]]]
"""(state, data, windows) -> (state, sums over those windows). The state is donated."""


def make_mesh(devices: Any = None, members: int = 1) -> Mesh:
    """A mesh of `members` rows over `devices` (all by default): the axes MEMBERS and AXIS.

    Raises:
      UserError: the devices do not divide by `members`.
    """
    devices = np.asarray(jax.devices() if devices is None else devices)
    if members < 1 or devices.size % members:
        raise UserError(
            f"{devices.size} devices cannot be cut into {members} along the members: "
            "give a divisor of their number"
        )
    # Auto: with Explicit, jax >= 0.11 demands an out_sharding at every contraction.
    return Mesh(devices.reshape(members, -1), (MEMBERS, AXIS), axis_types=(AxisType.Auto,) * 2)


def devices_for(members: int) -> int:
    """The most devices along the axis of members that divide the devices and have members to train."""
    count = jax.device_count()
    return max(size for size in range(1, count + 1) if count % size == 0 and size <= members)


def check_batch(task: Task, mesh: Mesh) -> None:
    """Raises UserError where the global batch does not divide over the mesh's devices."""
    batch, devices = task.batch_sizes["train"], mesh.shape[AXIS]
    if batch % devices:
        lower = max(batch - batch % devices, devices)
        raise UserError(
            f"task.batch={batch} does not divide over {devices} devices: "
            f"use a multiple of {devices}, e.g. task.batch={lower}"
        )


def fitting_mesh(task: Task, mesh: Mesh) -> Mesh:
    """As much of the mesh, along the batch, as the global batch divides over; where it is less it says so."""
    batch, devices = task.batch_sizes["train"], mesh.shape[AXIS]
    fits = max(size for size in range(1, devices + 1) if batch % size == 0)
    if fits == devices:
        return mesh
    _log.info("task.batch=%d does not divide over %d devices: training on %d of them", batch, devices, fits)
    return Mesh(mesh.devices[:, :fits], mesh.axis_names, axis_types=(AxisType.Auto,) * 2)


def state_shardings(state: TrainState, mesh: Mesh) -> TrainState:
    """A sharding for each leaf of the state: the carry is cut along the batch, the rest replicated."""
    whole, rows = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))
    shardings = jax.tree.map(lambda _: whole, state)
    return shardings.replace(carry=jax.tree.map(lambda _: rows, state.carry))


def data_shardings(task: Task, mesh: Mesh) -> RunData:
    """A sharding for each leaf of a run's data: cut along the batch where it has one."""
    whole, rows = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(AXIS))
    leaves = jax.tree.map(lambda _, axis: whole if axis is None else rows, task.data, task.batch_axes)
    return RunData(leaves, whole, {})  # type: ignore[arg-type]


def place(tree: Tree, shardings: Tree) -> Tree:
    """Copies the tree onto its shardings; the result shares no buffer with `tree`, so it may be donated.

    Where the devices are of several processes, all of them hold the whole tree, and each takes its part.
    """
    if all(sharding.is_fully_addressable for sharding in jax.tree.leaves(shardings)):
        return jax.device_put(tree, shardings, may_alias=False)

    def part(leaf: Array, sharding: NamedSharding) -> Array:
        value = np.array(leaf)
        return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

    return jax.tree.map(part, tree, shardings)


def _loop(update: Callable) -> Callable:
    """Repeats `update` up to `windows` times, or until a step is not finite (of all runs, where many)."""
    update = jax.jit(update)  # traced once, though named twice below

    def run(state: TrainState, data: RunData, windows: Array) -> tuple[TrainState, dict[str, Array]]:
        shapes = jax.eval_shape(update, state, data)[1]
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        def more(loop: tuple) -> Array:
            done, state, _ = loop
            return (done < windows) & (state.bad_step < 0).any()

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
    data_axes = RunData(jax.tree.map(lambda _, axis: axis, task.data, task.batch_axes), None, {})  # type: ignore[arg-type]
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


def stack_unshared(items: Sequence[Tree], shared: Tree) -> Tree:
    """The trees as one: where `shared` the leaf of the first, elsewhere all of them with an axis K first."""
    return jax.tree.map(lambda same, *leaves: leaves[0] if same else jnp.stack(leaves), shared, *items)


MembersRunner = Callable[
    [Sequence[TrainState], RunData, int], tuple[list[TrainState], list[dict[str, Array]]]
]
"""(states, data of all, windows) -> (states, sums by run)."""


def make_members_runner(
    update: Callable, task: Task, state: TrainState, data: RunData, shared: RunData, mesh: Mesh
) -> MembersRunner:
    """Compiles `update` of one run into a loop over many windows of K runs at once, under `jax.vmap`.

    The runs keep step: `state.step` has no axis of members, so that runs which share their data share the
    look-up of a window too. A run that is no longer finite goes on beside the others, to no effect on them.
    The states are copied on their way in and out, once a call.

    Args:
      update: (state, data) -> (state, sums), of one run.
      task, state, data: of one run, for structure and shapes.
      shared: which leaves of the data all runs share.
      mesh: K must divide over its axis of members.
    """
    state_axes = jax.tree.map(lambda _: 0, state).replace(step=None)
    data_axes = jax.tree.map(lambda same: None if same else 0, shared)
    loop = _loop(jax.vmap(update, in_axes=(state_axes, data_axes), out_axes=(state_axes, 0)))

    def sharding(*axes: str | None) -> NamedSharding:
        return NamedSharding(mesh, PartitionSpec(*axes))

    placed = jax.tree.map(lambda _: sharding(MEMBERS), state)
    placed = placed.replace(
        step=sharding(), carry=jax.tree.map(lambda _: sharding(MEMBERS, AXIS), state.carry)
    )
    batched = data_shardings(task, mesh)
    every: Any = sharding()
    batched = batched._replace(numbers=dict.fromkeys(data.numbers, every))
    data_placed = jax.tree.map(
        lambda rows, same: rows if same else sharding(MEMBERS, *rows.spec), batched, shared
    )

    @functools.partial(jax.jit, out_shardings=placed)
    def join(states: Sequence[TrainState]) -> TrainState:
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        return stacked.replace(step=states[0].step + 0)  # no alias of what the caller holds: it is donated

    run = jax.jit(
        loop, in_shardings=(placed, data_placed, sharding()), out_shardings=(placed, None), donate_argnums=0
    )

    @jax.jit
    def part(state: TrainState, sums: dict[str, Array]) -> tuple[list, list]:
        count = state.bad_step.shape[0]
        states = [
            jax.tree.map(lambda leaf: leaf[k], state.replace(step=None)).replace(step=state.step)  # noqa: B023
            for k in range(count)
        ]
        return states, [{name: value[k] for name, value in sums.items()} for k in range(count)]

    def runner(states: Sequence[TrainState], data: RunData, windows: int) -> Any:
        moved, sums = run(join(states), data, jnp.asarray(windows, jnp.int32))
        return part(moved, sums)

    return runner
