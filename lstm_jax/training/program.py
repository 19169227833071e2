"""What trains runs on the devices: one run by itself, or many of one shape in one compiled program.

Runs that differ in data alone can share a program and be trained at once under `jax.vmap`: in their seeds,
initial values (of the forget bias too), learning rates and schedules, dropout rates, penalties and clipping.
Everything else is a matter of shapes or of the program's text; `signature` says which runs go together.
"""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from lstm_jax import evaluate, models
from lstm_jax.cells.rates import absent
from lstm_jax.evaluate.static import Progress
from lstm_jax.models import Model
from lstm_jax.predict.weights_io import load_init_params
from lstm_jax.runs import distributed
from lstm_jax.runs.directory import flat_config, set_field
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params, Tree
from lstm_jax.tasks import make_task
from lstm_jax.tasks.base import Task
from lstm_jax.training import devices, optim
from lstm_jax.training.state import RunData, TrainState, init_state, make_update, run_data

__all__ = [
    "Program",
    "assemble",
    "compile_run",
    "make_model",
    "prepare",
    "signature",
    "solo",
    "together",
]

Sums = dict[str, Array]


class Program(NamedTuple):
    """Compiled training and validation of K runs.

    `which` are the indices of those still in training, in the order of the other lists.

    Attributes:
      fresh: each run's state before its first step.
      advance: (which, states, windows) -> (states, sums by run): all of them by so many windows.
      validate: (which, params, progress) -> figures by run, of the split "valid".
    """

    fresh: list[TrainState]
    advance: Callable[[Sequence[int], Sequence[TrainState], int], tuple[list[TrainState], list[Sums]]]
    validate: Callable[[Sequence[int], Sequence[Params], Progress | None], list[dict[str, float]]]


def make_model(task: Task, section: Mapping[str, Any]) -> Model:
    """The model of the config section `model` for a task."""
    return models.make_model(
        vocab=task.vocab, input_dim=task.input_dim, outputs=task.outputs, facts=task.facts, **section
    )


def prepare(configs: Sequence[ConfigDict]) -> tuple[list[Task], Model]:
    """The task of each run, and the model of the first, for runs that are to be trained together."""
    sections = [config.to_dict() for config in configs]
    epochs = configs[0].train.epochs
    tasks = [make_task(**section["task"], epochs=epochs, seed=section["seed"]) for section in sections]
    return tasks, make_model(tasks[0], sections[0]["model"])


def assemble(
    configs: Sequence[ConfigDict],
    tasks: Sequence[Task],
    model: Model,
    *,
    member_devices: int = 0,
    fewer_devices: bool = False,
) -> Program:
    """`solo` for one run, `together` for several; the arguments and errors are theirs."""
    if len(configs) == 1:
        return solo(configs[0], tasks[0], model, fewer_devices=fewer_devices)
    return together(configs, tasks, model, member_devices=member_devices, fewer_devices=fewer_devices)


def solo(c: ConfigDict, task: Task, model: Model, *, fewer_devices: bool = False) -> Program:
    """One run by itself, on a mesh of all devices, of all processes, along its batch; see `compile_run`."""
    fresh, run, data = compile_run(c, task, model, fewer_devices=fewer_devices)
    evaluator = evaluate.make_evaluator(task, model, "valid")

    def advance(which: Sequence[int], states: Sequence[TrainState], windows: int) -> Any:
        state, sums = run(states[0], data, windows)
        return [state], [sums]

    def validate(which: Sequence[int], params: Sequence[Params], progress: Progress | None) -> Any:
        # Every process evaluates by itself, to the figures of the first.
        return [distributed.from_first(evaluator(distributed.local(params[0]), progress))]

    return Program([fresh], advance, validate)


def compile_run(
    c: ConfigDict, task: Task, model: Model, *, fewer_devices: bool = False
) -> tuple[TrainState, devices.Runner, RunData]:
    """The state before the first step, the compiled loop over windows, and the data on the devices.

    Args:
      c, task, model: of the run.
      fewer_devices: a batch that does not divide over the devices takes as many as it does divide over, and
        is no error; for one process.

    Raises:
      UserError: a batch that does not divide over the devices, or what the optimizer or the task refuses.
    """
    if c.train.axis == "pmap" and distributed.count() > 1:
        raise UserError('train.axis="pmap" is for one process: use "jit" with several')
    mesh = devices.make_mesh()
    if fewer_devices:
        mesh = devices.fitting_mesh(task, mesh)
    devices.check_batch(task, mesh)
    state, optimizer = _begin(c, task, model)
    distributed.check_same("initial values", state)
    distributed.check_same("data", task.data)
    update = make_update(
        task,
        model,
        optimizer,
        base_length=_base_length(c),
        axis_name=devices.AXIS if c.train.axis == "pmap" else None,
        **c.objective,
    )
    advance = devices.make_runner(c.train.axis, update, task, state, mesh)
    state = devices.place(state, devices.state_shardings(state, mesh))
    data = run_data(task, jax.random.key(c.seed))
    return state, advance, devices.place(data, devices.data_shardings(task, mesh))


def _begin(c: ConfigDict, task: Task, model: Model) -> tuple[TrainState, Any]:
    """The state before the first step, and the optimizer."""
    params = model.init(jax.random.key(c.seed))
    if c.train.init_from:
        encoding = task.encoder if task.corpus is None else task.corpus.vocabulary
        params = load_init_params(c.train.init_from, params, encoding)
    penalties = {name: c.objective[name] for name in ("l1", "l2", "penalty", "penalty_mask")}
    optimizer = optim.build(params, **c.optim, **penalties)
    state = init_state(model, optimizer, params, task.batch_sizes["train"], average=c.optim.average)
    if c.optim.average and c.optim.average_after == -1:
        state = state.replace(averaging=~state.averaging)
    return state, optimizer


def _base_length(c: ConfigDict) -> int:
    """Tokens of a window at which the learning rate is the one set; 0 where the length does not scale it."""
    if not c.optim.scale_by_length:
        return 0
    if "window" not in c.task:
        raise UserError(
            f"optim.scale_by_length needs windows of a text, and the task is {c.task.name!r}: set it to False"
        )
    return c.task.window


FREE = (
    r"seed",
    r"model\.(cell\.)?init",
    r"model\.cell\.forget_bias",
    r"optim\.(learning_rate|schedule|decay_after|decay_factor|warmup|average_after)",
    r"train\.(init_from|patience|stop_when_solved|keep|tensorboard|track)",
)
"""Fields in which runs of one program may differ: they act on initial values or on the host."""
NUMBERS = (
    r"model\.dropout\.(embedding|input|between|output|weight)",
    r"objective\.(l1|l2|ar|tar)",
)
"""Fields which the program reads as data where its runs differ in them. Zoneout is not among them: its rate
is part of the evaluation too."""
HYPERPARAMETERS = (r"optim\.clip", r"objective\.(l1|l2)")
"""Fields that are data in the optimizer's state where they are not 0, and absent from it where they are."""


def _matches(patterns: Sequence[str], name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def signature(config: Mapping[str, Any]) -> tuple:
    """What runs must have in common to be trained together, hashable.

    Under train.axis="pmap" that is everything: such a run is trained by itself.

    Args:
      config: nested plain dicts, `ConfigDict.to_dict()`.
    """
    fields = dict(flat_config(config))
    if fields["train.axis"] == "pmap":
        return tuple((name, repr(value)) for name, value in sorted(fields.items()))
    free = set(filter(lambda name: _matches(FREE, name), fields))
    if not fields["model.cell.forget_bias_trainable"]:
        free.discard("model.cell.forget_bias")  # which rows are frozen is a matter of its form
    if fields.get("task.window_jitter") or fields.get("task.window_half"):
        free.discard("seed")  # the windows are then drawn, and with them the steps of an epoch
    common = []
    for name, value in sorted(fields.items()):
        if name in free or _matches(NUMBERS, name) or name == "optim.clip":
            continue
        common.append((name, repr(list(value) if isinstance(value, tuple) else value)))
    in_optimizer = fields["objective.penalty"] != "loss"
    for name, value in sorted(fields.items()):
        if _matches(HYPERPARAMETERS, name) and (name == "optim.clip" or in_optimizer):
            common.append((f"{name} is 0", repr(absent(value))))
    return tuple(common)


def together(
    configs: Sequence[ConfigDict],
    tasks: Sequence[Task],
    model: Model,
    *,
    member_devices: int = 0,
    fewer_devices: bool = False,
) -> Program:
    """Several runs of one signature, by one program with a leading axis of members K.

    Numbers are those of `solo` up to float rounding, random draws the same.

    Args:
      configs: one a run, of one `signature`.
      tasks: one a run; of all but the first only the data are used.
      model: of the first run.
      member_devices: devices along the axis of members; what is left of the devices cuts the batch. 0: as
        many as there are members for.
      fewer_devices: see `compile_run`.

    Raises:
      UserError: the runs are of different shapes, are under pmap, or do not divide over the devices.
    """
    first, task = configs[0], tasks[0]
    if first.train.axis == "pmap":
        raise UserError('train.axis="pmap" draws its own dropout on each device: train such runs apart')
    for other in tasks[1:]:
        if _static(other) != _static(task):
            raise UserError(f"runs of the task {task.name} with other windows cannot be trained together")
    if model.backend in ("cudnn", "fused"):  # neither can be vmapped
        model = make_model(task, {**first.model.to_dict(), "backend": "scan"})
    sections = [config.to_dict() for config in configs]
    own = [make_model(task, section["model"]) for section in sections]  # for their initial values
    pairs = [_begin(c, task, m) for c, m in zip(configs, own, strict=True)]
    states, optimizer = [state for state, _ in pairs], pairs[0][1]
    numbers = _numbers(sections)
    data = [
        run_data(one, jax.random.key(c.seed))._replace(numbers=number)
        for one, c, number in zip(tasks, configs, numbers, strict=True)
    ]
    shared = _shared(data)
    mesh = devices.make_mesh(members=member_devices or devices.devices_for(len(configs)))
    if fewer_devices:
        mesh = devices.fitting_mesh(task, mesh)
    devices.check_batch(task, mesh)

    def update(state: TrainState, data: RunData) -> tuple[TrainState, Sums]:
        section = _with(sections[0], data.numbers)
        varied = any(name.startswith("model.") for name in data.numbers)
        made = make_model(task, section["model"] | {"backend": model.backend}) if varied else model
        step = make_update(task, made, optimizer, base_length=_base_length(first), **section["objective"])
        return step(state, data)

    run = devices.make_members_runner(update, task, states[0], data[0], shared, mesh)
    evaluator = evaluate.make_members_evaluator(task, model, "valid", shared.task)
    chosen: dict[tuple[int, ...], RunData] = {}

    def data_of(which: Sequence[int], size: int) -> RunData:
        """The data of these members, stacked where they differ; kept, for they seldom change."""
        key = (*which, size)
        if key not in chosen:
            chosen.clear()
            chosen[key] = devices.stack_unshared(_padded([data[k] for k in which], size), shared)
        return chosen[key]

    def size_of(count: int) -> int:
        """Members of the program: those in training, or up to twice as many, for each size is a compile.

        It depends on their number alone, and not on how it came about: a group that was stopped resumes with
        the program that it would have used.
        """
        size = len(configs)
        while count <= -(-size // 2) < size:
            size = -(-size // 2)
        along = mesh.shape[devices.MEMBERS]
        return -(-size // along) * along

    def advance(which: Sequence[int], states: Sequence[TrainState], windows: int) -> Any:
        size = size_of(len(which))
        moved, sums = run(_padded(states, size), data_of(which, size), windows)
        return moved[: len(which)], sums[: len(which)]

    def validate(which: Sequence[int], params: Sequence[Params], progress: Progress | None) -> Any:
        size = size_of(len(which))
        return evaluator(_padded(params, size), data_of(which, size).task, progress)[: len(which)]

    place = devices.state_shardings(states[0], mesh)
    return Program([devices.place(state, place) for state in states], advance, validate)


def _padded(items: Sequence[Any], size: int) -> list[Any]:
    """The items, and the last one again until there are `size`."""
    return [*items, *[items[-1]] * (size - len(items))]


def _static(task: Task) -> tuple:
    """What of a task is part of the program or of the calendar."""
    shapes = [(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(task.data)]
    return (
        task.vocab,
        task.input_dim,
        task.outputs,
        {split: tuple(lengths) for split, lengths in task.buckets.items()},
        dict(task.steps),
        tuple(task.epoch_ends.tolist()),
        dict(task.batch_sizes),
        shapes,
    )


def _numbers(sections: Sequence[Mapping[str, Any]]) -> list[dict[str, Array]]:
    """By run, the values of the fields of NUMBERS in which the runs differ."""
    fields = [dict(flat_config(section)) for section in sections]
    names = [name for name in fields[0] if _matches(NUMBERS, name)]
    varied = [name for name in names if len({own[name] for own in fields}) > 1]
    return [{name: jnp.float32(own[name]) for name in varied} for own in fields]


def _with(section: Mapping[str, Any], numbers: Mapping[str, Array]) -> dict[str, Any]:
    """The nested config with these fields replaced."""
    found = copy.deepcopy(dict(section))
    for name, value in numbers.items():
        set_field(found, name, value)
    return found


def _shared(data: Sequence[RunData]) -> RunData:
    """For each leaf, whether it is the same for all runs: a corpus is, a key is not."""

    def same(*leaves: Array) -> bool:
        values = [np.asarray(leaf) for leaf in leaves]
        return all(np.array_equal(values[0], value) for value in values[1:])

    tree: Tree = jax.tree.map(same, *data)
    # Keys and numbers always have an axis of members, so that one seed alone is not another program.
    return tree._replace(key=False, numbers=dict.fromkeys(tree.numbers, False))
