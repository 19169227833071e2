"""Perturbed contexts: what stays, what moves, and the limits where the answer is known."""

import jax
import numpy as np
import pytest

from lstm_jax import models
from lstm_jax.analysis import context, perturbation
from lstm_jax.analysis.losses import shifted
from lstm_jax.support.errors import UserError

V, FIRST = 9, 2


def make():
    model = models.recurrent(outputs=V, vocab=V, hidden=(5,), embedding=3, init="uniform(0.9)")
    return model, model.init(jax.random.key(0))


def text(count, seed=0):
    return np.random.default_rng(seed).integers(0, V, count).astype(np.int32)


def numbered(rows=40, length=30):
    """Every token of every context is a number of its own."""
    return np.arange(rows * length).reshape(rows, length)


def test_local_moves_one_span_and_keeps_its_words():
    before = numbered()
    after = perturbation.perturb(before, "local", 12, before.ravel(), np.random.default_rng(0), span=5)
    still = [*range(13), *range(18, 30)]  # distances 13 to 17 are columns 13 to 17
    np.testing.assert_array_equal(after[:, still], before[:, still])
    np.testing.assert_array_equal(np.sort(after[:, 13:18]), before[:, 13:18])
    assert len({tuple(row - row.min()) for row in after[:, 13:18]}) > 10  # each row has an order of its own


def test_global_moves_all_beyond_and_keeps_the_words():
    before = numbered()
    after = perturbation.perturb(before, "global", 12, before.ravel(), np.random.default_rng(0))
    np.testing.assert_array_equal(after[:, 18:], before[:, 18:])
    np.testing.assert_array_equal(np.sort(after[:, :18]), before[:, :18])
    assert (after[:, :18] != before[:, :18]).mean() > 0.9


def test_replaced_draws_from_the_pool_and_dropped_is_the_cut():
    before = numbered()
    after = perturbation.perturb(before, "replaced", 12, np.array([-1, -2]), np.random.default_rng(0))
    np.testing.assert_array_equal(after[:, 18:], before[:, 18:])
    assert set(after[:, :18].ravel().tolist()) == {-1, -2}
    cut = perturbation.perturb(before, "dropped", 12, before.ravel(), np.random.default_rng(0))
    np.testing.assert_array_equal(cut, before[:, 18:])


def test_a_span_at_the_end_of_the_context_is_shorter():
    before = numbered()
    after = perturbation.perturb(before, "local", 27, before.ravel(), np.random.default_rng(0), span=20)
    np.testing.assert_array_equal(after[:, 3:], before[:, 3:])
    whole = perturbation.perturb(before, "local", 30, before.ravel(), np.random.default_rng(0), span=20)
    np.testing.assert_array_equal(whole, before)


def test_dropped_and_intact_are_the_context_curve():
    model, params = make()
    tokens = text(40)
    found = perturbation.perturb_losses(
        model, params, tokens, FIRST, distances=(8, 2), length=16, span=4, targets=None, rows=8
    )
    curve = context.context_losses(model, params, tokens, FIRST, lengths=(2, 8, 16), targets=None)
    np.testing.assert_array_equal(found.positions, curve.positions)
    assert found.distances.tolist() == [2, 8]
    np.testing.assert_allclose(found.nats["dropped"], curve.nats[:2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.intact, curve.nats[2], rtol=1e-5, atol=1e-6)
    # Each other kind changes some losses, the more the nearer to the target it begins.
    for kind in ("local", "global", "replaced"):
        near, far = np.abs(found.nats[kind] - found.intact).mean(axis=1)
        assert near > far > 0


def test_one_target_by_hand():
    """The words beyond n all come to stand in every order: the loss is one of those of the two orders."""
    model, params = make()
    tokens = text(4, seed=1)
    found = perturbation.perturb_losses(
        model, params, tokens, FIRST, distances=(2,), kinds=("global",), length=4, targets=None
    )
    a, b, *near = shifted(tokens, FIRST)
    apply = jax.jit(lambda inputs: model.apply(params, inputs[:, None], model.carry(params, 1)).logits[-1, 0])
    losses = [
        -float(jax.nn.log_softmax(apply(np.array([*far, *near])))[tokens[3]]) for far in ((a, b), (b, a))
    ]
    assert abs(losses[0] - losses[1]) > 1e-5
    assert np.isclose(found.intact[0], losses[0], rtol=1e-5)
    assert min(abs(found.nats["global"][0, 0] - loss) for loss in losses) < 1e-5


def test_shuffling_words_that_are_all_the_same_changes_nothing():
    model, params = make()
    found = perturbation.perturb_losses(
        model, params, np.full(30, 4), 4, distances=(1, 5), kinds=("local", "global", "replaced"), length=10,
        span=3, targets=None,
    )  # fmt: skip
    for mean, error in perturbation.increase(found).values():
        np.testing.assert_allclose(mean, 0, atol=1e-6)
        np.testing.assert_allclose(error, 0, atol=1e-6)


def test_increase_by_hand():
    found = perturbation.Perturbation(
        np.array([5]), np.arange(3), np.array([1.0, 2, 3]), {"global": np.array([[1.0, 3.0, 5.0]])}
    )
    ((mean, error),) = perturbation.increase(found).values()
    assert mean == [1] and np.isclose(error, np.sqrt(1 / 3))


def test_the_same_seed_draws_the_same():
    model, params = make()
    draws = [
        perturbation.perturb_losses(
            model, params, text(30), FIRST, distances=(2,), kinds=("global",), length=10, targets=4, seed=seed
        ).nats["global"]
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert draws[2].shape != draws[0].shape or not np.allclose(draws[0], draws[2])


def test_figure(tmp_path):
    rng = np.random.default_rng(0)
    found = perturbation.Perturbation(
        np.array([5, 20, 100]), np.arange(50), np.ones(50),
        {kind: 1 + rng.random((3, 50)) * np.array([[1], [0.3], [0.05]]) for kind in perturbation.KINDS},
    )  # fmt: skip
    figure = perturbation.figure(found, title="a run")
    (axes,) = figure.axes
    labels = axes.get_legend_handles_labels()[1]
    assert (
        len(labels) == 5 and "order of the 20 tokens beyond n lost" in labels
    )  # four kinds, and the published
    assert "nats" in axes.get_ylabel() and "tokens" in axes.get_xlabel()
    assert axes.texts[0].get_text() == "context of 300 tokens intact: 1.000 nats a token"
    figure.savefig(tmp_path / "x.png")


def test_what_cannot_be_is_refused():
    model, params = make()
    with pytest.raises(UserError, match="glob"):
        perturbation.perturb_losses(
            model, params, text(30), FIRST, kinds=("glob",), length=10, distances=(2,)
        )
    with pytest.raises(UserError, match="must lie in a context of 10"):
        perturbation.perturb_losses(model, params, text(30), FIRST, length=10, distances=(11,))
    with pytest.raises(UserError, match="none with 300 tokens"):
        perturbation.perturb_losses(model, params, text(30), FIRST)
