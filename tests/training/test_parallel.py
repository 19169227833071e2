"""One device, a mesh of eight, and pmap over eight train the same: with SGD, for Adam hides a factor."""

import json
from collections.abc import Callable
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from lstm_jax.support.errors import UserError
from lstm_jax.training import devices

SCRIPT = """
import json, sys, tempfile
import numpy as np, jax
from lstm_jax import tasks, models
from lstm_jax.training import devices
from lstm_jax.training import loop
from tiny_text_training import tiny

def steps(axis, number, corpus, **changes):
    config = tiny(corpus, **{"train.axis": axis, "task.batch": 8, **changes})
    sections = config.to_dict()
    task = tasks.make_task(**sections["task"], epochs=3, seed=1)
    model = models.make_model(vocab=task.vocab, outputs=task.outputs, **sections["model"])
    everywhere = devices.make_mesh
    devices.make_mesh = lambda: everywhere(jax.devices()[:number])
    state, advance, data = loop.compile_run(config, task, model)
    devices.make_mesh = everywhere
    before = jax.tree.map(np.asarray, state.params)
    state, sums = advance(state, data, 7)
    state, more = advance(state, data, 4)
    flat = lambda tree: np.concatenate([np.ravel(np.asarray(leaf)) for leaf in jax.tree.leaves(tree)])
    moved = float(np.abs(flat(state.params) - flat(before)).max())
    return flat(state.params), flat(state.carry), {k: float(sums[k] + more[k]) for k in sums}, moved

corpus = tempfile.mkdtemp()
rng = np.random.default_rng(0)
for split in ("train", "valid", "test"):
    # 1,003 tokens do not divide by 8: some streams end in padding, so that devices count differently
    words = rng.choice(list("abcdef"), size=(103 if split == "train" else 9, 9))
    open(f"{corpus}/{split}.txt", "w").write("\\n".join(map(" ".join, words)) + "\\n")
plain = {"model.dropout.weight": 0.0, "model.dropout.input": 0.0, "model.dropout.between": 0.0}
plain |= {"model.dropout.output": 0.0}
out = {}
for name, (axis, number) in {"one": ("jit", 1), "mesh": ("jit", 8), "pmap": ("pmap", 8)}.items():
    out[name] = steps(axis, number, corpus, **plain)
for name, number in {"one_dropout": 1, "mesh_dropout": 8}.items():
    out[name] = steps("jit", number, corpus)
print(json.dumps({k: [v[0].tolist(), v[1].tolist(), v[2], v[3]] for k, v in out.items()}))
"""


def test_eight_devices_train_as_one(on_devices: Callable[..., str]) -> None:
    out = json.loads(on_devices(SCRIPT).strip().splitlines()[-1])
    params, carry, sums, moved = out["one"]
    assert moved > 0.05  # the comparison is of a training that went somewhere
    for name in ("mesh", "pmap"):
        np.testing.assert_allclose(out[name][0], params, atol=2e-5, err_msg=name)
        np.testing.assert_allclose(out[name][1], carry, atol=2e-5, err_msg=name)
        for key, value in sums.items():
            assert out[name][2][key] == pytest.approx(value, rel=1e-4), (name, key)
    # Random bits do not depend on the sharding: under jit dropout is the same on any number of devices.
    np.testing.assert_allclose(out["mesh_dropout"][0], out["one_dropout"][0], atol=2e-5)
    assert np.abs(np.subtract(out["one_dropout"][0], params)).max() > 1e-3


def test_a_batch_that_does_not_divide_is_refused_with_one_that_does() -> None:
    task, mesh = SimpleNamespace(batch_sizes={"train": 6}), SimpleNamespace(shape={devices.AXIS: 4})
    with pytest.raises(UserError, match=r"task\.batch=6 .* 4 devices.*task\.batch=4"):
        devices.check_batch(task, mesh)


def test_the_loop_stops_at_the_first_step_that_is_not_finite_and_adds_up() -> None:
    from lstm_jax.training.state import TrainState

    def update(state: TrainState, data: jax.Array) -> tuple:
        bad = jax.numpy.where((state.step == 3) & (state.bad_step < 0), state.step, state.bad_step)
        return state.replace(step=state.step + 1, bad_step=bad), {"sum": data[state.step]}

    zero = jax.numpy.int32(0)
    state = TrainState(zero, (), (), (), None, zero > 0, zero - 1)
    data = jax.numpy.arange(10.0)
    state, sums = devices._loop(update)(state, data, jax.numpy.int32(10))
    assert int(state.step) == 4 and int(state.bad_step) == 3 and float(sums["sum"]) == 0 + 1 + 2 + 3
