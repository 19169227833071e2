"""Every cell trains two steps on every task.

Compiling each of the hundreds of pairs would take an hour, so each cell is compiled once a kind of task:
the tiny batches of all tasks of a kind are padded to one shape, with what is padded unscored and beyond the
sequences' lengths, and go through `state.make_update` as the run's do.
"""

import functools

import jax
import numpy as np
import pytest

from configs import base
from lstm_jax import cells, models
from lstm_jax.support import pytrees
from lstm_jax.tasks import TASKS, make_task, scores
from lstm_jax.tasks.base import Batch
from lstm_jax.tasks.pixels import from_images
from lstm_jax.training import optim
from lstm_jax.training.state import RunData, init_state, make_update
from tests.oracles import facts
from tests.solvers import SOLVERS
from tests.tiny_images import tiny_images

B, H, E = 3, 6, 4
TEXT = "the cat sat on the mat and the dog sat on the cat\n"
OTHERS = {
    "language_model": dict(corpus="text", batch=B, window=9, eval_window=16),
    "continual_reber": dict(batch=B, window=10, epoch_steps=3, eval_batch=2, eval_steps=2),
    "pixels": dict(batch=B),
    "text_classification": dict(source="files", batch=B, lengths=1),
}
"""Arguments that make the tasks tiny which are not generated."""


@functools.cache
def tiny(name):
    """The task, in the first of its cases."""
    if name in SOLVERS:
        sizes = dict(batch=B, epoch_steps=2, eval_batch=2, eval_steps=1)
        return make_task(name, **(SOLVERS[name].cases[0] | sizes), epochs=1, seed=0)
    if name == "pixels":  # images of the full size are 64 steps
        return from_images(tiny_images(), **OTHERS[name], epochs=1, seed=0)
    return make_task(name, **OTHERS[name], epochs=1, seed=0)


@pytest.fixture(scope="module", autouse=True)
def text(tmp_path_factory):
    directory = tmp_path_factory.mktemp("text")
    for split in ("train", "valid", "test"):
        (directory / f"{split}.txt").write_text(TEXT * 12)
        (directory / f"{split}.csv").write_text("text,label\nthe cat,c\na dog,d\nno cat,c\nthe dog,d\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("language_model", "text_classification"):
            patch.setitem(OTHERS[name], "data_dir", str(directory))
        yield
    tiny.cache_clear()


def kind(task):
    """(tokens or features, loss): what a compiled update is shared by."""
    return task.vocab is not None, task.loss


@functools.cache
def shape(tokens, loss):
    """The least T, V or D, and O that all tasks of a kind fit into."""
    of_kind = [task for task in map(tiny, TASKS) if kind(task) == (tokens, loss)]
    steps = max(task.buckets["train"][0] for task in of_kind)
    width = max(task.vocab if tokens else task.input_dim for task in of_kind)
    return steps, width, max(task.outputs for task in of_kind)


@functools.cache
def windows(name):
    """The task's first two batches in the shape of its kind, [2, T, B, ...]."""
    task = tiny(name)
    steps, width, outputs = shape(*kind(task))
    batch_at = jax.jit(task.batch, static_argnums=(1, 3))
    return jax.tree.map(
        lambda *leaves: np.stack(leaves),
        *[
            padded(jax.device_get(batch_at(task.data, "train", k, 0)), steps, width, outputs)
            for k in range(2)
        ],
    )


def padded(batch, steps, width, outputs):
    real = len(batch.inputs)
    later = ((0, steps - real), (0, 0))

    def pad(leaf, columns):
        more = ((0, columns - leaf.shape[2]),) if leaf.ndim == 3 else ()
        return np.pad(leaf, (*later, *more))

    return Batch(
        inputs=pad(batch.inputs, width),
        targets=pad(batch.targets, outputs),
        weights=pad(np.ones((real, B), np.float32) if batch.weights is None else batch.weights, 0),
        lengths=np.full(B, real, np.int32) if batch.lengths is None else batch.lengths,
        resets=pad(np.zeros((real, B), bool) if batch.resets is None else batch.resets, 0),
        fresh=np.asarray(batch.fresh),
    )


@functools.cache
def compiled(cell, tokens, loss):
    """The state that a cell starts from, and its update, for a kind of task."""
    steps, width, outputs = shape(tokens, loss)
    of_kind = next(task for task in map(tiny, TASKS) if kind(task) == (tokens, loss))
    task = of_kind._replace(
        batch=lambda data, split, step, bucket: jax.tree.map(lambda leaf: leaf[step], data),
        buckets={"train": (steps,)},
    )
    config = base.get_config()
    model = models.make_model(
        vocab=width if tokens else None,
        input_dim=None if tokens else width,
        outputs=outputs,
        hidden=(facts(cell).hidden or H,),
        embedding=E,
        init="uniform(0.5)",
        cell={"name": cell, **facts(cell).options},
    )
    key = jax.random.key(0, impl="unsafe_rbg")  # compiles in a fraction of the default's time
    optimizer = optim.build(jax.eval_shape(model.init, key), **config.optim)
    start = jax.jit(lambda key: init_state(model, optimizer, model.init(key), B, average=False))
    return start(key), jax.jit(make_update(task, model, optimizer, **config.objective))


def test_every_task_is_here_and_every_kind_has_a_loss_that_is_known():
    assert set(OTHERS) | set(SOLVERS) == set(TASKS)
    for name in TASKS:
        assert tiny(name).loss in (scores.nats, scores.squared_error)


def test_padding_changes_no_loss():
    """The shared shape is the task itself: the loss of a padded batch is the loss of the batch."""
    for name in ("parity", "adding", "long_lag_2a"):
        task = tiny(name)
        _, _, outputs = shape(*kind(task))
        batch = jax.tree.map(lambda leaf: leaf[0], windows(name))
        plain = jax.device_get(task.batch(task.data, "train", 0, 0))
        logits = np.random.default_rng(0).normal(size=(*batch.inputs.shape[:2], outputs)).astype(np.float32)
        own = logits[: len(plain.inputs), :, : task.outputs]
        if task.loss is scores.nats:
            logits[..., task.outputs :] = -1e9  # the classes that it does not have
        else:
            logits[..., task.outputs :] = 0
        total, count = scores.total(task.loss(logits, batch), batch)
        plain_total, plain_count = scores.total(task.loss(own, plain), plain)
        np.testing.assert_allclose(total, plain_total, rtol=1e-6)
        assert count == plain_count


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("cell", cells.CELLS)
def test_a_cell_trains_two_steps_on_a_task(cell, task):
    begin, update = compiled(cell, *kind(tiny(task)))
    data = RunData(windows(task), jax.random.key_data(jax.random.key(1)))
    state = begin
    for _ in range(2):
        state, sums = update(state, data)
        assert np.isfinite(sums["task"]) and sums["tokens"] > 0 and sums["gradient_norm"] > 0
    assert int(state.step) == 2 and int(state.bad_step) == -1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.carry, state.params)))
    before, after = pytrees.named_leaves(begin.params), pytrees.named_leaves(state.params)
    for name in before:  # Adam moves whatever has a gradient
        if name.startswith("layers") and not name.endswith(pytrees.FIXED):
            assert np.any(np.asarray(before[name]) != after[name]), f"{name} has no gradient"
