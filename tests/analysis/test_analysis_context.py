"""Loss against context: every target alone in a Python loop, and the limits where the answer is known."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import models
from lstm_jax.analysis import context, losses
from lstm_jax.support.errors import UserError

V, FIRST = 9, 2


def make(**options):
    model = models.recurrent(
        **dict(outputs=V, vocab=V, hidden=(5, 4), embedding=3, init="uniform(0.9)") | options
    )
    return model, model.init(jax.random.key(0))


def text(count, seed=0):
    return np.random.default_rng(seed).integers(0, V, count).astype(np.int32)


def alone(model, params, inputs, target):
    """Nats of one target after `inputs` [n], read one by one from the initial state."""
    apply = jax.jit(model.apply)
    carry = model.carry(params, 1)
    for token in inputs:
        outputs = apply(params, jnp.full((1, 1), token), carry)
        carry = outputs.carry
    return -float(jax.nn.log_softmax(outputs.logits[0, 0])[target])


def test_token_nats_is_one_pass_whatever_the_window():
    model, params = make()
    tokens = text(23)
    inputs = losses.shifted(tokens, FIRST)
    assert inputs[0] == FIRST and (inputs[1:] == tokens[:-1]).all()
    logits = model.apply(params, inputs[:, None], model.carry(params, 1)).logits[:, 0]
    expected = -jax.nn.log_softmax(logits)[np.arange(23), tokens]
    seen = []
    found = losses.token_nats(
        model, params, tokens, FIRST, window=7, progress=lambda done, total: seen.append((done, total))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert seen == [(7, 23), (14, 23), (21, 23), (23, 23)]


@pytest.mark.parametrize("lengths", [(2, 4, 10), (1, 3, 7)], ids=["shared", "coprime"])
def test_equals_every_target_alone(lengths, monkeypatch):
    monkeypatch.setattr(losses, "SCORED", 5)  # several calls, the last one padded
    model, params = make()
    tokens = text(31)
    found = context.context_losses(
        model, params, tokens, FIRST, lengths=lengths[::-1], targets=9, seed=3, rows=4
    )
    inputs = losses.shifted(tokens, FIRST)
    assert found.lengths.tolist() == list(lengths) and found.nats.shape == (3, len(found.positions))
    assert len(found.positions) >= 9 and set(np.diff(found.positions)) == {2}
    for row, n in zip(found.nats, lengths, strict=True):
        for nats, at in list(zip(row, found.positions, strict=True))[::4]:
            expected = alone(model, params, inputs[at - n + 1 : at + 1], tokens[at])
            np.testing.assert_allclose(nats, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        found.full[-1], alone(model, params, inputs[: found.positions[-1] + 1], tokens[found.positions[-1]]),
        rtol=1e-5,
    )  # fmt: skip


def test_a_context_of_the_whole_history_is_the_full_loss():
    model, params = make()
    tokens = text(12)
    found = context.context_losses(model, params, tokens, FIRST, lengths=(3, 12), targets=None)
    assert found.positions.tolist() == [11]
    np.testing.assert_allclose(found.nats[1], found.full, rtol=1e-5)
    assert abs(found.nats[0, 0] - found.full[0]) > 1e-4


def test_a_model_without_recurrence_has_a_flat_curve():
    model, params = make()
    layers = tuple(
        {**layer, "w_h": 0 * layer["w_h"], "b": layer["b"].at[1].set(-40.0)} for layer in params["layers"]
    )
    found = context.context_losses(
        model, params | {"layers": layers}, text(60), FIRST, lengths=(1, 2, 8), targets=None
    )
    summary = context.curve(found)
    np.testing.assert_allclose(summary.excess, 0, atol=1e-6)
    assert context.effective(summary.lengths, summary.excess) == 1


def test_all_targets_share_their_runs():
    """With every token a target, a start is read once: the longest context is what it costs, and edges."""
    model, params = make(hidden=(4,))
    seen = []
    context.context_losses(
        model, params, text(200), FIRST, lengths=(5, 10, 20), targets=None,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    targets = 200 - 19
    assert seen[-1][0] == seen[-1][1] == 10 * (targets * 20 + 10 * 10 + 5 * 5)


def test_cut_nats_takes_stretches_of_any_kind():
    model, params = make(hidden=(4,))
    inputs = text(14)
    starts, lengths, targets = [0, 9, 0, 13, 3], [4, 5, 4, 1, 11], [1, 2, 3, 4, 0]
    found = losses.cut_nats(model, params, inputs, starts, lengths, targets, rows=2)
    expected = [
        alone(model, params, inputs[s : s + n], t) for s, n, t in zip(starts, lengths, targets, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_targets_lie_at_an_even_stride_that_the_seed_shifts():
    lengths = (5, 20)
    assert context.target_positions(100, lengths, None).tolist() == list(range(19, 100))
    for seed in range(5):
        found = context.target_positions(1000, lengths, 40, seed)
        assert set(np.diff(found)) == {20} and 19 <= found[0] < 39 and found[-1] >= 980 and len(found) >= 40
    first = {context.target_positions(1000, lengths, 40, seed)[0] for seed in range(9)}
    assert len(first) > 1
    np.testing.assert_array_equal(
        context.target_positions(1000, lengths, 40, 1), context.target_positions(1000, lengths, 40, 1)
    )


@pytest.mark.parametrize(
    ("stride", "expected"), [(1, 1), (1.9, 1), (2, 2), (9.9, 5), (10, 10), (49, 20), (730, 500)]
)
def test_round_stride(stride, expected):
    assert losses.round_stride(stride) == expected


def test_effective_context_is_interpolated_in_log_n():
    bound = math.log1p(0.01)
    lengths = [10, 100, 1000]
    # Half way between in log n: from 3 bounds to -1 bound it is one bound's height at the middle.
    assert math.isclose(context.effective(lengths, [9 * bound, 3 * bound, -bound]), 10**2.5)
    assert context.effective(lengths, [bound, 0.5 * bound, 0]) == 10
    assert context.effective(lengths, [1, 1, 2 * bound]) == math.inf
    assert math.isclose(context.effective(lengths, [1, 2 * bound, bound]), 1000)
    # What dips under the bound and comes up again is not yet within it.
    assert context.effective(lengths, [0, 2 * bound, 0]) > 100
    assert math.isclose(
        context.effective(lengths, [0.4, 0.1, 0], 0.1), 10 ** (2 + (0.1 - math.log(1.1)) / 0.1)
    )


def test_curve_by_hand():
    found = context.curve(
        context.Context(
            np.array([5]), np.arange(3), np.array([[1.0, 2.0, 6.0]], np.float32), np.array([1.0, 1.0, 4.0])
        )
    )
    assert found.mean == 3 and found.full == 2 and found.excess == 1 and found.targets == 3
    np.testing.assert_allclose(found.error, np.sqrt(7 / 3))  # variance (4 + 1 + 9) / 2
    np.testing.assert_allclose(found.excess_error, np.sqrt(1 / 3))  # differences 0, 1, 2


def test_figure_draws_curve_level_bound_and_published_points(tmp_path):
    found = context.Curve(
        np.array([5, 50, 500]), np.array([6.0, 5.1, 5.0]), np.full(3, 0.02), 5.0, 0.02,
        np.array([1.0, 0.1, -1e-4]), np.full(3, 1e-3), 100,
    )  # fmt: skip
    figure = context.figure({"model": found}, marks={"window of training": 20}, title="a run")
    upper, lower = figure.axes
    assert "tokens" in lower.get_xlabel() and "%" in lower.get_ylabel() and upper.get_ylabel() == "perplexity"
    drawn = [line.get_xydata().tolist() for line in lower.get_lines()]
    assert [[13, 25], [150, 1], [200, 1]] in drawn  # published
    (at,) = [points[0][0] for points in drawn if len(points) == 1]
    assert math.isclose(at, context.effective(found.lengths, found.excess))
    assert any(np.allclose(line.get_ydata(), math.exp(5)) for line in upper.get_lines())
    figure.savefig(tmp_path / "x.png")


def test_what_cannot_be_is_refused():
    model, params = make(hidden=(4,))
    with pytest.raises(UserError, match="none with 50 tokens before it"):
        context.context_losses(model, params, text(49), FIRST, lengths=(5, 50))
    with pytest.raises(UserError, match="1 token or more"):
        context.context_losses(model, params, text(9), FIRST, lengths=(0, 5))
    with pytest.raises(UserError, match="targets=0"):
        context.target_positions(10, (2,), 0)
    with pytest.raises(UserError, match="lie within"):
        losses.cut_nats(model, params, text(9), [5], [5], [1])
    with pytest.raises(UserError, match="of one size"):
        losses.cut_nats(model, params, text(9), [5, 1], [1], [1])
    with pytest.raises(UserError, match="at least one token"):
        losses.token_nats(model, params, [], FIRST)
