"""The neural cache against a NumPy loop over tokens, and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import models
from lstm_jax.evaluate import cache
from lstm_jax.support.errors import UserError

FIRST = 2
VOCAB = 7


@pytest.fixture(scope="module")
def trained():
    model = models.recurrent(
        vocab=VOCAB, outputs=VOCAB, hidden=(5, 6), embedding=4, init="uniform(0.7)", cell={"name": "lstm"}
    )
    return model, model.init(jax.random.key(0))


def text(count, seed=0):
    return np.random.default_rng(seed).integers(0, VOCAB, count)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def forward(model, params, tokens):
    """Probabilities [N, V] and last-layer outputs [N, H] of one whole pass, in float64."""
    inputs = jnp.asarray(np.concatenate([[FIRST], tokens[:-1]]))[:, None]
    out = model.apply(params, inputs, model.carry(params, 1))
    logits = np.asarray(out.logits[:, 0], np.float64)
    return np.stack([softmax(row) for row in logits]), np.asarray(out.hidden[:, 0], np.float64)


def loop(model, params, tokens, size, theta, lam, min_history=1):
    probs, hidden = forward(model, params, tokens)
    nats = 0.0
    for t, target in enumerate(tokens):
        p = probs[t]
        if t >= min_history:
            past = range(max(0, t - size), t)
            weights = softmax(np.array([theta * hidden[t] @ hidden[i] for i in past]))
            cached = np.zeros(VOCAB)
            for i, weight in zip(past, weights, strict=True):
                cached[tokens[i]] += weight
            p = lam * cached + (1 - lam) * p
        nats -= np.log(p[target])
    return nats / len(tokens)


@pytest.mark.parametrize(("size", "window"), [(1, 1), (1, 9), (3, 4), (10, 4), (4, 64), (50, 9)])
def test_equals_a_loop(trained, size, window):
    model, params = trained
    tokens = text(37)
    found = cache.make_cache_evaluator(model, tokens, FIRST, size=size, window=window)(
        params, theta=2.0, lam=0.3
    )
    expected = loop(model, params, tokens, size, 2.0, 0.3)
    np.testing.assert_allclose(found["nats"], expected, rtol=1e-5)
    np.testing.assert_allclose(found["perplexity"], np.exp(found["nats"]), rtol=1e-12)


@pytest.mark.parametrize("min_history", [5, 11])
def test_waits_for_history(trained, min_history):
    model, params = trained
    tokens = text(37)
    evaluate = cache.make_cache_evaluator(model, tokens, FIRST, size=10, min_history=min_history, window=8)
    expected = loop(model, params, tokens, 10, 1.5, 0.4, min_history)
    np.testing.assert_allclose(evaluate(params, theta=1.5, lam=0.4)["nats"], expected, rtol=1e-5)


def test_lambda_zero_is_the_static_figure(trained):
    model, params = trained
    tokens = text(37)
    probs, _ = forward(model, params, tokens)
    static = -np.log(probs[np.arange(37), tokens]).mean()
    without = cache.make_cache_evaluator(model, tokens, FIRST, min_history=1000, window=8)
    evaluate = cache.make_cache_evaluator(model, tokens, FIRST, window=8)
    found = evaluate(params, theta=1.0, lam=0.0)
    assert found == without(params, theta=1.0, lam=0.5)  # bit for bit: the cache's branch adds nothing
    np.testing.assert_allclose(found["nats"], static, rtol=1e-6)


def test_theta_zero_is_a_unigram_cache(trained):
    model, params = trained
    tokens = text(30)
    probs, _ = forward(model, params, tokens)
    nats = -np.log(probs[0, tokens[0]])
    for t in range(1, 30):
        share = np.mean(tokens[max(0, t - 6) : t] == tokens[t])
        nats -= np.log(0.5 * share + 0.5 * probs[t, tokens[t]])
    found = cache.make_cache_evaluator(model, tokens, FIRST, size=6, window=7)(params, theta=0.0, lam=0.5)
    np.testing.assert_allclose(found["nats"], nats / 30, rtol=1e-5)


def test_helps_where_words_come_back(trained):
    model, params = trained
    tokens = np.tile([0, 3, 1, 4, 4], 30)
    evaluate = cache.make_cache_evaluator(model, tokens, FIRST, size=20)
    assert evaluate(params, theta=20.0, lam=0.8)["nats"] < 0.8 * evaluate(params, theta=1.0, lam=0.0)["nats"]
    assert np.isfinite(evaluate(params, theta=1e5, lam=0.9)["nats"])


def test_many_calls_equal_one_and_new_numbers_do_not_compile(trained, monkeypatch):
    model, params = trained
    tokens = text(37)
    whole = cache.make_cache_evaluator(model, tokens, FIRST, size=10, window=4)(params, theta=2.0, lam=0.3)
    monkeypatch.setattr(cache, "WINDOWS_PER_CALL", 3)
    traced, seen = [], []
    counting = model._replace(apply=lambda *a, **k: traced.append(1) or model.apply(*a, **k))
    evaluate = cache.make_cache_evaluator(counting, tokens, FIRST, size=10, window=4)
    parts = evaluate(params, theta=2.0, lam=0.3, progress=lambda done, steps: seen.append((done, steps)))
    assert seen == [(3, 10), (6, 10), (9, 10), (10, 10)]
    np.testing.assert_allclose(parts["nats"], whole["nats"], rtol=1e-6)
    once = len(traced)
    evaluate(params, theta=1.0, lam=0.1)
    assert len(traced) - once <= 1  # the shapes are looked up again, nothing else is traced


@pytest.mark.parametrize("wrong", [{"lam": 1.0}, {"lam": -0.1}, {"theta": -1.0}, {"lam": float("nan")}])
def test_numbers_out_of_range(trained, wrong):
    model, params = trained
    with pytest.raises(UserError, match="lambda in"):
        cache.make_cache_evaluator(model, text(5), FIRST)(params, **{"theta": 1.0, "lam": 0.1} | wrong)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"min_history": 0}, {"window": 0}])
def test_sizes_out_of_range(trained, wrong):
    with pytest.raises(UserError, match="1 or more"):
        cache.make_cache_evaluator(trained[0], text(5), FIRST, **wrong)
