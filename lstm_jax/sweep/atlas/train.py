"""Trains the members of one cell on several tasks by one compiled program, under `jax.vmap`.

The tasks' sequences are drawn first, each by its own small program, padded to one length, and kept on the
device as bytes. A training step of all members then reads them: nothing but the numbers of a member (its
initial values, learning rate, forget bias, and which task and seed it reads) differs within the program.
Vocabulary and head are as wide as the largest of the tasks needs; what is beyond a task's own classes is
never a target, and is cut off before its figures are taken.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax import models
from lstm_jax.models import Model
from lstm_jax.runs.provenance import provenance
from lstm_jax.support.notation import Array, Params
from lstm_jax.sweep.atlas.plan import Column, Plan, Row, units_of
from lstm_jax.tasks import scores
from lstm_jax.tasks.base import Batch, Task
from lstm_jax.training import optim
from lstm_jax.training.state import RunData, TrainState, init_state, make_update

__all__ = ["Group", "Sequences", "draw_column"]

CHUNK = 250
"""Training steps whose sequences are drawn at once, at most."""
OPTIMIZER = dict(name="adam", clip=1.0)
UNASKED = -1
"""In place of the class of a step that is not asked."""


class Sequences(NamedTuple):
    """What a column is trained and tested on; inputs and targets (UNASKED where not scored) are int8.

    Attributes:
      column: the task's.
      task: at the length of training.
      train: (inputs, targets), each [seeds, steps, T, B].
      valid, test: the same, [T, B].
      lengths: the longer lengths, and `longer` their task, for its metrics.
      tests: (inputs, targets) of these lengths, [lengths, T', B].
    """

    column: Column
    task: Task
    train: tuple[Array, Array]
    valid: tuple[Array, Array]
    test: tuple[Array, Array]
    lengths: tuple[int, ...]
    longer: Task
    tests: tuple[Array, Array]


def _packed(batch: Batch) -> tuple[Array, Array]:
    targets = batch.targets if batch.weights is None else jnp.where(batch.weights > 0, batch.targets, UNASKED)
    return batch.inputs.astype(jnp.int8), targets.astype(jnp.int8)


def draw_column(column: Column, plan: Plan) -> Sequences:
    """Draws all sequences of a column by one program: by seed and step for training, tests once for all.

    Members have the seeds from 1 on. What seed 0 would be trained on is valid and test, so that this is the
    same part of the program; the longer tests are of the split "test".
    """
    scale, task, longer = plan.scale, column.task(plan.scale), column.longer(plan.scale)
    size, tested = min(CHUNK, scale["steps"]), -(-scale["eval_batch"] // scale["batch"])
    chunks = -(-scale["steps"] // size)
    programs = {id(other.batch): other for _, other in longer}  # one where the length is data

    def wide(leaf: Array, first: int) -> Array:
        """[steps, T, B] -> the `tested` steps from `first` on side by side: [T, tests]."""
        some = jnp.moveaxis(leaf[first : first + tested], 0, 1)
        return some.reshape(some.shape[0], -1)[:, : scale["eval_batch"]]

    @jax.jit
    def draw(data: Any, datas: list[Any]) -> tuple:
        def chunk(place: Array) -> tuple[Array, Array]:
            own = data | {"key": jax.random.key_data(jax.random.key(place // chunks))}
            every = place % chunks * size + jnp.arange(size)
            return jax.vmap(lambda step: _packed(task.batch(own, "train", step, 0)))(every)

        drawn = jax.lax.map(chunk, jnp.arange((scale["seeds"] + 1) * chunks))
        by_seed = jax.tree.map(lambda leaf: leaf.reshape(scale["seeds"] + 1, -1, *leaf.shape[2:]), drawn)
        train = jax.tree.map(lambda leaf: leaf[1:], by_seed)
        tests = [jax.tree.map(lambda leaf, at=at: wide(leaf[0], at), by_seed) for at in (0, tested)]
        if len(programs) == 1:
            lengths = jax.tree.map(lambda *leaves: jnp.stack(leaves), *datas)
            beyond = jax.lax.map(lambda own: _packed(longer[0][1].batch(own, "test", 0, 0)), lengths)
        else:
            apart = [_packed(o.batch(own, "test", 0, 0)) for (_, o), own in zip(longer, datas, strict=True)]
            beyond = _stacked(apart, max(len(inputs) for inputs, _ in apart))
        return train, *tests, beyond

    train, valid, test, tests = draw(task.data, [other.data for _, other in longer])
    lengths = tuple(length for length, _ in longer)
    return Sequences(column, task, train, valid, test, lengths, longer[-1][1], tests)


def _stacked(pairs: Sequence[tuple[Array, Array]], length: int) -> tuple[Array, Array]:
    """The pairs along a new first axis, their axis of time, the last but one, padded to `length`."""

    def padded(leaf: Array, fill: int) -> Array:
        more = [(0, 0)] * leaf.ndim
        more[-2] = (0, length - leaf.shape[-2])
        return jnp.pad(leaf, more, constant_values=fill)

    return (
        jnp.stack([padded(inputs, 0) for inputs, _ in pairs]),
        jnp.stack([padded(targets, UNASKED) for _, targets in pairs]),
    )


def _batch(inputs: Array, targets: Array) -> Batch:
    weights = (targets != UNASKED).astype(jnp.float32)
    return Batch(inputs.astype(jnp.int32), targets.astype(jnp.int32), weights, None, None, True)


class _Best(NamedTuple):
    """The best parameters on valid of each member so far: loss [M], step [M], first step that solved [M]."""

    params: Params
    loss: Array
    step: Array
    solved_step: Array


class Group:
    """The members of one cell on some tasks; `compile` takes long and may run in a thread, `run` trains.

    Args:
      plan: the atlas.
      row: the cell.
      sequences: the tasks' sequences; their members are trained by task, trial and seed, the seed fastest.
    """

    def __init__(self, plan: Plan, row: Row, sequences: Sequence[Sequences]):
        self.plan, self.row, self.sequences = plan, row, list(sequences)
        self.members = [m for one in self.sequences for m in plan.members(row, one.column)]
        self.each = len(self.members) // len(self.sequences)
        self.width, self.parameters = units_of(row, plan.scale)
        self.outputs = max(one.task.outputs for one in self.sequences)
        self.vocab = max(one.task.vocab or 0 for one in self.sequences)
        self._compiled: dict[str, Any] = {}

    def _model(self, options: str, bias: float | Array | None) -> Model:
        cell = {"name": self.row.name, "options": options}
        return models.make_model(
            vocab=self.vocab,
            outputs=self.outputs,
            hidden=(self.width,),
            embedding=self.plan.scale["embedding"],
            init="uniform(0.3)",
            cell=cell if bias is None else cell | {"forget_bias": bias},
            backend="scan",
        )

    def _read(self, arrays: Sequence[Sequence[tuple[Array, Array]]]) -> tuple[dict[str, Array], Any, Any]:
        """What training and the tests read, from the pairs train, valid, test and tests of each task.

        Returns:
          The data of a training step, all sequences and for each member its task and seed; (inputs, targets)
          [tasks, T, B] of valid; of test, and [lengths, tasks, T', B] of the longer lengths.
        """
        train, valid, test, tests = zip(*arrays, strict=True)
        steps = max(inputs.shape[-2] for inputs, _ in train)
        most = max(len(inputs) for inputs, _ in tests)
        repeated = [(_more(inputs, most), _more(targets, most)) for inputs, targets in tests]
        longer = _stacked(repeated, max(inputs.shape[-2] for inputs, _ in tests))
        inputs, targets = _stacked(train, steps)
        which = np.repeat(np.arange(len(self.sequences)), self.each)
        seed = np.array([member.seed - 1 for member in self.members])
        data = {"inputs": inputs, "targets": targets, "task": jnp.asarray(which), "seed": jnp.asarray(seed)}
        swapped = jnp.swapaxes(longer[0], 0, 1), jnp.swapaxes(longer[1], 0, 1)
        return data, _stacked(valid, steps), (_stacked(test, steps), swapped)

    def _arrays(self) -> list[tuple]:
        return [(one.train, one.valid, one.test, one.tests) for one in self.sequences]

    def _start(self) -> tuple[TrainState, _Best]:
        """The state of all members before the first step; every leaf but `step` has an axis of members."""
        biased = self.members[0].trial.bias is not None
        model = self._model(self.row.options, 0.0 if biased else None)
        optimizer = self._optimizer(model)

        def one(seed: Array, bias: Array, rate: Array) -> TrainState:
            own = self._model(self.row.options, bias if biased else None)
            params = own.init(jax.random.key(seed))
            state = init_state(model, optimizer, params, self.plan.scale["batch"], average=False)
            return state.replace(opt_state=optim.set_learning_rate(state.opt_state, rate))

        trials = [member.trial for member in self.members]
        state = jax.vmap(one)(
            jnp.asarray([member.seed for member in self.members]),
            jnp.asarray([trial.bias or 0.0 for trial in trials], jnp.float32),
            jnp.asarray([trial.rate for trial in trials], jnp.float32),
        )
        never = -jnp.ones(len(self.members), jnp.int32)
        best = _Best(state.params, jnp.full(len(self.members), jnp.inf), never, never)
        return state.replace(step=jnp.zeros((), jnp.int32)), best

    def _optimizer(self, model: Model) -> Any:
        return optim.build(jax.eval_shape(model.init, jax.random.key(0)), **OPTIMIZER, learning_rate=1e-3)  # type: ignore[arg-type]

    def _advance(self) -> Callable[..., tuple[TrainState, _Best]]:
        """(state, best, data, valid) -> state and best some steps later, with an evaluation on valid."""
        model, first = self._model(self.row.options, None), self.sequences[0].task

        def batch(data: Mapping[str, Array], split: str, step: Array | int, bucket: int) -> Batch:
            place = data["task"], data["seed"], step
            return _batch(data["inputs"][place], data["targets"][place])

        task = first._replace(batch=batch, loss=scores.nats, outputs=self.outputs, vocab=self.vocab)
        task = task._replace(buckets={"train": (0,)})  # one bucket; T is that of the data
        update = make_update(task, model, self._optimizer(model))
        evaluate = self._evaluate(self.row.options, [one.task for one in self.sequences])

        def run(state: TrainState, best: _Best, data: dict, valid: tuple) -> Any:
            axes = jax.tree.map(lambda _: 0, state).replace(step=None)
            data_axes = RunData({"inputs": None, "targets": None, "task": 0, "seed": 0}, None, {})  # type: ignore[arg-type]
            every = jax.vmap(update, in_axes=(axes, data_axes), out_axes=(axes, 0))
            key = jax.random.key_data(jax.random.key(0))  # nothing is dropped out
            state = jax.lax.fori_loop(
                0,
                self.plan.scale["evaluate_every"],
                lambda _, state: every(state, RunData(data, key))[0],
                state,
            )
            loss, solved, _ = evaluate(state.params, valid)
            loss = jnp.where(jnp.isfinite(loss) & (state.bad_step < 0), loss, jnp.inf)
            better = loss < best.loss

            def chosen(new: Array, old: Array) -> Array:
                return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

            first_solved = solved & (best.solved_step < 0)
            best = _Best(
                jax.tree.map(chosen, state.params, best.params),
                jnp.where(better, loss, best.loss),
                jnp.where(better, state.step, best.step),
                jnp.where(first_solved, state.step, best.solved_step),
            )
            return state, best

        return run

    def _evaluate(self, options: str, tasks: Sequence[Task]) -> Callable[..., tuple[Array, Array, Any]]:
        """(params [M, ...], (inputs, targets) [tasks, T, B]) -> loss [M], solved [M], figures [M] by task."""
        model = self._model(options, None)

        def one(params: Params, inputs: Array) -> Array:
            carry = model.carry(params, inputs.shape[1])
            return model.apply(params, inputs.astype(jnp.int32), carry).logits

        def run(params: Params, pair: tuple[Array, Array]) -> tuple[Array, Array, list[dict[str, Array]]]:
            inputs, targets = pair
            by_task = jax.tree.map(lambda leaf: leaf.reshape(len(tasks), self.each, *leaf.shape[1:]), params)
            # One task after the other: together their states would take much memory.
            logits = jax.lax.map(lambda own: jax.vmap(one, (0, None))(*own), (by_task, inputs))
            losses, solved, figures = [], [], []
            for k, task in enumerate(tasks):
                score = jax.vmap(task.metrics, (0, None))
                sums = score(logits[k, ..., : task.outputs], _batch(inputs[k], targets[k]))
                means = {name: total / count for name, (total, count) in sums.items()}
                losses.append(means[next(iter(task.chance))])
                criteria = [
                    means[c.metric] >= c.bound if c.above else means[c.metric] <= c.bound for c in task.solved
                ]
                solved.append(jnp.stack(criteria).all(axis=0))
                figures.append(means)
            return jnp.concatenate(losses), jnp.concatenate(solved), figures

        return run

    def _final(self) -> Callable[..., tuple[Array, list[dict[str, Array]], list[dict[str, Array]]]]:
        """(params, (test, longer)) -> solved [M]; by task figures on test [M], at lengths [lengths, M]."""
        on_test = self._evaluate(self.row.options, [one.task for one in self.sequences])
        beyond = self._evaluate(self.row.longer_options, [one.longer for one in self.sequences])

        def run(params: Params, pairs: tuple[Any, Any]) -> tuple[Array, Any, Any]:
            _, solved, tested = on_test(params, pairs[0])
            return solved, tested, jax.lax.map(lambda pair: beyond(params, pair)[2], pairs[1])

        return run

    def compile(self) -> "Group":
        """Compiles all that `run` needs; returns the group itself."""
        arrays = self._arrays()
        data, valid, tests = jax.eval_shape(self._read, arrays)
        state, best = jax.eval_shape(self._start)
        programs: dict[str, tuple[Any, tuple]] = {
            "advance": (self._advance(), (state, best, data, valid)),
            "final": (self._final(), (best.params, tests)),
            "start": (self._start, ()),
            "read": (self._read, (jax.eval_shape(lambda: arrays),)),
        }
        for name, (function, shapes) in programs.items():
            donated = (0, 1) if name == "advance" else ()
            lowered = jax.jit(function, donate_argnums=donated).lower(*shapes)
            self._compiled[name] = lowered.compile()
        return self

    def run(self, progress: Callable[[int], None] = lambda step: None) -> list[dict[str, Any]]:
        """Trains all members and tests the best of each on valid.

        Args:
          progress: called with the step after each evaluation; it may raise to stop.

        Returns:
          A record of each member, see `records`.
        """
        if not self._compiled:
            self.compile()
        began = time.monotonic()
        data, valid, tests = self._compiled["read"](self._arrays())
        state, best = self._compiled["start"]()
        for step in range(0, self.plan.scale["steps"], self.plan.scale["evaluate_every"]):
            state, best = self._compiled["advance"](state, best, data, valid)
            best.loss.block_until_ready()
            progress(step + self.plan.scale["evaluate_every"])
        solved, tested, beyond = self._compiled["final"](best.params, tests)
        best, solved, tested, beyond = jax.device_get((best._replace(params=None), solved, tested, beyond))
        return self._records(best, solved, tested, beyond, time.monotonic() - began)

    def _records(
        self, best: _Best, solved: np.ndarray, tested: Sequence[Any], beyond: Sequence[Any], seconds: float
    ) -> list[dict[str, Any]]:
        facts, origin = self.plan.scale, provenance()
        records = []
        for index, member in enumerate(self.members):
            k, own = divmod(index, self.each)
            one = self.sequences[k]
            records.append(
                {
                    "cell": self.row.label,
                    "task": member.column.label,
                    "rate": member.trial.rate,
                    "forget_bias": member.trial.bias,
                    "seed": member.seed,
                    "units": self.width,
                    "layer_parameters": self.parameters,
                    "steps": facts["steps"],
                    "valid_loss": _plain(best.loss[index]),
                    "best_step": int(best.step[index]),
                    "solved_step": int(best.solved_step[index]) if best.solved_step[index] >= 0 else None,
                    "solved": bool(solved[index]),
                    "test": {name: _plain(value[own]) for name, value in tested[k].items()},
                    "longer": {
                        str(length): {name: _plain(value[place, own]) for name, value in beyond[k].items()}
                        for place, length in enumerate(one.lengths)
                    },
                    "seconds": round(seconds / len(self.members), 3),
                    "members_together": len(self.members),
                    **{name: origin[name] for name in ("commit", "dirty", "hardware", "date")},
                }
            )
        return records


def _plain(value: Any) -> float | None:
    """For JSON: None for what is not finite."""
    return round(float(value), 6) if np.isfinite(value) else None


def _more(leaf: Array, count: int) -> Array:
    """With its last entry repeated until there are `count`."""
    return leaf[jnp.minimum(jnp.arange(count), len(leaf) - 1)]
