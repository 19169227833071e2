"""Dynamic evaluation against a plain Python loop, and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import models
from lstm_jax.evaluate import dynamic, stream
from lstm_jax.support.errors import UserError
from lstm_jax.support.pytrees import FIXED, named_leaves

FIRST = 2
VOCAB = 7
NUMBERS = {"rate": 2e-2, "decay": 0.02, "eps": 1e-3}


def make(**options):
    options = {"hidden": (4,), "embedding": 4, "cell": {"name": "lstm"}} | options
    model = models.recurrent(vocab=VOCAB, outputs=VOCAB, init="uniform(0.7)", **options)
    return model, model.init(jax.random.key(0))


def text(count, seed=0):
    return np.random.default_rng(seed).integers(0, VOCAB, count)


def shifted(tokens):
    return np.concatenate([[FIRST], tokens[:-1]])


def mean_nats(params, model, inputs, targets, carry):
    """[T, B] tokens -> mean nats; not through the project's own cross-entropy."""
    out = model.apply(params, inputs, carry)
    log_probs = jax.nn.log_softmax(out.logits)
    return -jnp.take_along_axis(log_probs, targets[..., None], -1).mean(), out.carry


learn = jax.jit(jax.value_and_grad(mean_nats, has_aux=True), static_argnums=1)


def static_nats(model, params, tokens):
    inputs, targets = jnp.asarray(shifted(tokens))[:, None], jnp.asarray(tokens)[:, None]
    return float(mean_nats(params, model, inputs, targets, model.carry(params, 1))[0])


def loop_statistics(model, params, tokens, window, batch, batches):
    """Krause's gradstat, one batch after the other."""
    width = len(tokens) // batch
    inputs = shifted(tokens)[: batch * width].reshape(batch, width).T
    targets = tokens[: batch * width].reshape(batch, width).T
    carry, squares = model.carry(params, batch), None
    for at in range(0, batches * window, window):
        x, y = jnp.asarray(inputs[at : at + window]), jnp.asarray(targets[at : at + window])
        (_, carry), gradient = learn(params, model, x, y, carry)
        new = {name: np.asarray(leaf, np.float64) ** 2 for name, leaf in named_leaves(gradient).items()}
        squares = new if squares is None else {name: squares[name] + new[name] for name in new}
    rms = {name: np.sqrt(square / batches) for name, square in squares.items()}
    return rms, np.mean([leaf.mean() for name, leaf in rms.items() if not name.endswith(FIXED)])


def loop_pass(model, params, rms, mean, tokens, window, rate, decay, eps):
    """Krause's evaluate: score a window, then learn from it; float64 on the host between windows."""
    origin = {name: np.asarray(leaf, np.float64) for name, leaf in named_leaves(params).items()}
    now = dict(origin)
    structure = jax.tree.structure(params)
    carry, total, inputs = model.carry(params, 1), 0.0, shifted(tokens)
    for at in range(0, len(tokens), window):
        weights = jax.tree.unflatten(structure, [jnp.asarray(leaf, jnp.float32) for leaf in now.values()])
        x, y = (jnp.asarray(part[at : at + window])[:, None] for part in (inputs, tokens))
        (nats, carry), gradient = learn(weights, model, x, y, carry)
        total += float(nats) * len(y)
        gradient = named_leaves(gradient)
        for name in now:
            strength = np.minimum(rms[name] / mean, 1 / decay)
            change = decay * strength * (origin[name] - now[name])
            now[name] = now[name] + change - rate * np.asarray(gradient[name]) / (rms[name] + eps)
    return total / len(tokens)


@pytest.mark.parametrize("batches", [None, 3])
def test_statistics_equal_a_loop(batches):
    model, params = make()
    train = text(103)  # 4 streams of 25 tokens, 6 windows of 4; 7 tokens left over
    found = dynamic.gradient_statistics(model, params, train, FIRST, window=4, batch=4, batches=batches)
    rms, mean = loop_statistics(model, params, train, 4, 4, batches or 6)
    for name, leaf in named_leaves(found.rms).items():
        np.testing.assert_allclose(leaf, rms[name], rtol=1e-4, atol=1e-7, err_msg=name)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-5)


@pytest.mark.parametrize("count", [40, 43, 3], ids=["whole windows", "a remainder", "less than a window"])
def test_pass_equals_a_loop(count):
    model, params = make(hidden=(5, 4) if count == 43 else (4,))
    train, tokens = text(60), text(count, seed=1)
    statistics = dynamic.gradient_statistics(model, params, train, FIRST, window=5, batch=3)
    rms, mean = loop_statistics(model, params, train, 5, 3, 4)
    found = dynamic.make_dynamic_evaluator(model, tokens, FIRST, window=5)(params, statistics, **NUMBERS)
    expected = loop_pass(model, params, rms, mean, tokens, 5, **NUMBERS)
    # float32 weights of order 1 over a dozen updates, against float64
    np.testing.assert_allclose(found["nats"], expected, rtol=2e-5)
    np.testing.assert_allclose(found["perplexity"], np.exp(found["nats"]), rtol=1e-12)
    if count > 5:  # the numbers are such that adaptation is seen
        assert abs(found["nats"] - static_nats(model, params, tokens)) > 1e-3


def test_pull_is_clipped():
    """A decay so large that all weights go back each time: what was learnt lasts one window."""
    model, params = make()
    train, tokens = text(60), text(25, seed=1)
    statistics = dynamic.gradient_statistics(model, params, train, FIRST, window=5, batch=3)
    rms, mean = loop_statistics(model, params, train, 5, 3, 4)
    numbers = NUMBERS | {"decay": 5.0}
    found = dynamic.make_dynamic_evaluator(model, tokens, FIRST)(params, statistics, **numbers)
    expected = loop_pass(model, params, rms, mean, tokens, 5, **numbers)
    np.testing.assert_allclose(found["nats"], expected, rtol=2e-5)


@pytest.mark.parametrize(("window", "decay"), [(1, 0.5), (4, 0.0), (64, 0.5)])
def test_rate_zero_is_the_static_figure(window, decay):
    model, params = make()
    tokens = text(31)
    statistics = dynamic.gradient_statistics(model, params, tokens, FIRST, window=4, batch=2)
    evaluate = dynamic.make_dynamic_evaluator(model, tokens, FIRST, window=window)
    found = evaluate(params, statistics, rate=0.0, decay=decay, eps=1e-5)
    np.testing.assert_allclose(found["nats"], static_nats(model, params, tokens), rtol=1e-6)


def test_no_window_sees_its_own_update():
    """The first window's score is the static one, however large the rate."""
    model, params = make()
    tokens = text(5)
    statistics = dynamic.gradient_statistics(model, params, tokens, FIRST, window=5, batch=1)
    found = dynamic.make_dynamic_evaluator(model, tokens, FIRST, window=5)(
        params, statistics, rate=10.0, decay=0.0, eps=1e-5
    )
    np.testing.assert_allclose(found["nats"], static_nats(model, params, tokens), rtol=1e-6)


def test_learns_a_repeated_text():
    model, params = make()
    tokens = np.tile([0, 3, 1, 4], 60)
    statistics = dynamic.gradient_statistics(model, params, tokens, FIRST, window=5, batch=2)
    evaluate = dynamic.make_dynamic_evaluator(model, tokens, FIRST, window=5)
    adapted = evaluate(params, statistics, rate=0.02, decay=0.0, eps=1e-3)
    assert adapted["nats"] < np.log(4) < static_nats(model, params, tokens)  # knowing frequencies gives log 4


def test_fixed_biases_stay_and_do_not_count():
    model, params = make(
        hidden=(4,), cell={"name": "lstm", "forget_bias": 3.0, "forget_bias_trainable": False}
    )
    assert any(name.endswith(FIXED) for name in named_leaves(params))
    train, tokens = text(60), text(23, seed=1)
    statistics = dynamic.gradient_statistics(model, params, train, FIRST, window=5, batch=3)
    rms, mean = loop_statistics(model, params, train, 5, 3, 4)
    np.testing.assert_allclose(statistics.mean, mean, rtol=1e-5)
    found = dynamic.make_dynamic_evaluator(model, tokens, FIRST)(params, statistics, **NUMBERS)
    expected = loop_pass(model, params, rms, mean, tokens, 5, **NUMBERS)
    np.testing.assert_allclose(found["nats"], expected, rtol=2e-5)


def test_many_calls_equal_one(monkeypatch):
    model, params = make()
    tokens = text(43)
    statistics = dynamic.gradient_statistics(model, params, tokens, FIRST, window=5, batch=2)
    whole = dynamic.make_dynamic_evaluator(model, tokens, FIRST)(params, statistics, **NUMBERS)
    monkeypatch.setattr(dynamic, "WINDOWS_PER_CALL", 2)
    again = dynamic.gradient_statistics(model, params, tokens, FIRST, window=5, batch=2)
    np.testing.assert_array_equal(again.mean, statistics.mean)
    seen = []
    parts = dynamic.make_dynamic_evaluator(model, tokens, FIRST)(
        params, statistics, **NUMBERS, progress=lambda done, steps: seen.append((done, steps))
    )
    assert seen == [(2, 9), (4, 9), (6, 9), (8, 9), (9, 9)]
    np.testing.assert_allclose(parts["nats"], whole["nats"], rtol=1e-6)


def test_the_trained_weights_are_left_alone_and_new_numbers_do_not_compile():
    model, params = make()
    kept = jax.tree.map(np.asarray, params)
    tokens = text(20)
    statistics = dynamic.gradient_statistics(model, params, tokens, FIRST, window=5, batch=2)
    evaluate = dynamic.make_dynamic_evaluator(model, tokens, FIRST)
    first = evaluate(params, statistics, **NUMBERS)
    traced = []
    counting = model._replace(apply=lambda *a, **k: traced.append(1) or model.apply(*a, **k))
    evaluate = dynamic.make_dynamic_evaluator(counting, tokens, FIRST)
    assert evaluate(params, statistics, **NUMBERS) == first
    once = len(traced)
    assert evaluate(params, statistics, rate=1e-2, decay=0.1, eps=1e-2) != first
    assert len(traced) == once > 0
    jax.tree.map(np.testing.assert_array_equal, kept, params)


@pytest.mark.parametrize("wrong", [{"rate": -1.0}, {"decay": -0.1}, {"eps": 0.0}, {"rate": float("nan")}])
def test_numbers_out_of_range(wrong):
    model, params = make()
    statistics = dynamic.gradient_statistics(model, params, text(20), FIRST, batch=2)
    with pytest.raises(UserError, match="rate >= 0"):
        dynamic.make_dynamic_evaluator(model, text(20), FIRST)(params, statistics, **NUMBERS | wrong)


def test_divergence_is_an_error():
    model, params = make()
    statistics = dynamic.gradient_statistics(model, params, text(20), FIRST, batch=2)
    evaluate = dynamic.make_dynamic_evaluator(model, text(40), FIRST)
    with pytest.raises(UserError, match="lower evaluate"):
        evaluate(params, statistics, rate=1e38, decay=0.0, eps=1e-9)


def test_too_little_text():
    model, params = make()
    with pytest.raises(UserError, match="need 5 tokens for one window, not 4"):
        dynamic.gradient_statistics(model, params, text(4), FIRST, window=5)
    with pytest.raises(UserError, match="at least one token"):
        dynamic.make_dynamic_evaluator(model, [], FIRST)
    with pytest.raises(UserError, match="window is 0"):
        dynamic.make_dynamic_evaluator(model, text(4), FIRST, window=0)


def test_stream_holds_every_token_once():
    cut = stream.make_stream(np.arange(11), 99, 4)
    np.testing.assert_array_equal(cut.inputs.reshape(-1)[:11], [99, *range(10)])
    np.testing.assert_array_equal(cut.targets.reshape(-1)[:11], range(11))
    scored = [stream.window_at(cut, step).scored.sum() for step in range(3)]
    assert [int(count) for count in scored] == [4, 4, 3]
