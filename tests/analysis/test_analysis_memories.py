"""Figures and numbers of the notebooks: truncated gradients, sequences of a task, memories step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import cells, models, tasks, unroll
from lstm_jax.analysis import lags, memories, sequences, timescales, truncation
from lstm_jax.support.errors import UserError

SIZES = dict(hidden=(4,), embedding=3)


@pytest.fixture(scope="module")
def recall():
    task = tasks.make_task("delayed_recall", length=6, symbols=3, batch=4, epochs=1, seed=1)
    model = models.recurrent(vocab=task.vocab, outputs=task.outputs, init="uniform(0.9)", **SIZES)
    return task, model, model.init(jax.random.key(0)), task.batch(task.data, "train", 0, 0)


def as_vector(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_truncated_states_are_the_whole_ones_and_their_gradient_is_not(recall):
    task, model, params, batch = recall
    whole = model.apply(params, batch.inputs, model.carry(params, 4)).hidden
    for window in (0, 2, 5, 7, 50):
        np.testing.assert_allclose(truncation.states(model, params, batch.inputs, window), whole, atol=1e-6)

    def loss(params):
        return model.head(params, model.apply(params, batch.inputs, model.carry(params, 4)).hidden)

    full = as_vector(jax.grad(lambda p: task.metrics(loss(p), batch)["nats"][0] / 4)(params))
    np.testing.assert_allclose(as_vector(truncation.gradients(model, params, task, batch)), full, atol=1e-6)
    found = truncation.agreement(model, params, task, batch, [7, 2])
    assert list(found.windows) == [2, 7]
    np.testing.assert_allclose([found.cosine[1], found.ratio[1]], 1.0, rtol=1e-5)
    assert found.cosine[0] < 0.999
    assert truncation.figure({"lstm": found}, mark={"lag": 6}).axes[0].get_xlabel()


def test_truncation_cuts_the_gradient_by_lag_at_the_border(recall):
    task, model, params, batch = recall
    whole = truncation.by_lag(model, params, task, batch, max_lag=6)
    cut = truncation.by_lag(model, params, task, batch, max_lag=6, window=3)
    np.testing.assert_allclose(cut.mean[:3], whole.mean[:3], rtol=1e-4)
    assert (whole.mean > 0).all() and (cut.mean[3:] == 0).all()
    assert len(lags.compared({"whole": whole, "cut": cut}).axes) == 1


@pytest.mark.parametrize("name", ["delayed_recall", "adding", "parity"])
def test_a_sequence_as_a_picture(name):
    task = tasks.make_task(name, length=5, epochs=1, seed=1, eval_batch=2, eval_steps=1)
    shown = sequences.example(task, row=1)
    assert shown.scored.sum() == 1 and len(shown.inputs) == len(shown.targets) == len(shown.scored)
    assert len(sequences.figure(shown, title=name).axes) == 2
    with pytest.raises(UserError, match="rows 0 to 1"):
        sequences.example(task, row=2)


def test_bias_figure_has_a_row_a_form():
    figure = timescales.bias_figure({"0": np.zeros(3), "chrono": np.array([0.0, 2.0, 3.0])}, mark={"lag": 9})
    left, right = figure.axes
    assert [text.get_text() for text in left.get_yticklabels()] == ["0", "chrono"]
    drawn = np.sort(right.lines[2].get_xdata())
    np.testing.assert_allclose(drawn[1:], [timescales.from_bias(2.0), timescales.from_bias(3.0)])


def test_carries_are_those_of_the_steps():
    model = models.recurrent(vocab=5, outputs=2, cell={"name": "fast_weights"}, **SIZES)
    params = model.init(jax.random.key(0))
    inputs = jax.random.randint(jax.random.key(1), (4, 2), 0, 5)
    found = memories.carries(model, params, inputs)
    assert found.a.shape == (4, 2, 4, 4) and found.h.shape == (4, 2, 4)
    last = model.apply(params, inputs, model.carry(params, 2)).carry[0]
    np.testing.assert_allclose(found.a[-1], last.a, atol=1e-6)
    np.testing.assert_allclose(
        found.h[2], model.apply(params, inputs, model.carry(params, 2)).hidden[2], atol=1e-6
    )


def test_the_fast_matrix_is_attention_over_past_states():
    cell = cells.make_cell("fast_weights", 4, options="decay=0.9,eta=0.4")
    params = cell.init(jax.random.key(0), 3)
    xs = jax.random.normal(jax.random.key(1), (6, 1, 3))
    run = unroll.unroll(cell, params, xs[:5])
    h = np.concatenate([run.ys[:, 0], unroll.unroll(cell, params, xs).ys[5:, 0]])
    weights = memories.recall_weights(h, decay=0.9, eta=0.4)
    assert not np.triu(weights).any()
    np.testing.assert_allclose(weights[5] @ h, np.asarray(run.carry.a[0]) @ h[5], rtol=1e-4, atol=1e-6)


def test_attention_by_lag_as_attention_by_position():
    by_lag = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.75, 0.25], [0.5, 0.5]])
    expected = np.zeros((4, 4))
    expected[1, 0] = 1
    expected[2, [1, 0]] = [0.75, 0.25]
    expected[3, [2, 1]] = 0.5
    np.testing.assert_array_equal(memories.by_position(by_lag), expected)


def test_figures_of_memories():
    assert len(memories.matrices_figure(np.ones((3, 2, 2)), "abc", columns=2).axes) == 5
    assert memories.attention_figure(np.eye(3, k=-1), "abc").axes[0].get_ylabel()
    for draw, values in (
        (memories.matrices_figure, np.ones((3, 2, 2))),
        (memories.attention_figure, np.eye(3)),
    ):
        with pytest.raises(UserError, match="as many labels"):
            draw(values, "ab")
