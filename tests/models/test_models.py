"""The model: its size, what each dropout does, windows against one long sequence, precision, errors."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import awd, zaremba
from lstm_jax import models
from lstm_jax.support.errors import UserError

T, B, V, H = 6, 3, 11, 8
RATES = [name for name in models.DROPOUT if name != "locked"]


def small(**changes) -> models.Model:
    options = dict(outputs=V, vocab=V, hidden=(H, H), embedding=H, init="uniform(0.5)")
    return models.recurrent(**options | changes)


def parts(model: models.Model, length: int = T):
    """Parameters, tokens [T, B] and the first carry."""
    params = model.init(jax.random.key(1))
    tokens = jax.random.randint(jax.random.key(2), (length, B), 0, V)
    return params, tokens, model.carry(params, B)


def assert_same(left, right, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), left, right)


def count(config, vocab: int = 10_000) -> int:
    model = models.make_model(outputs=vocab, vocab=vocab, **config.model)
    return sum(
        math.prod(leaf.shape) for leaf in jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0)))
    )


def formula(embedding: int, hidden: tuple[int, ...], tied: bool, vocab: int = 10_000) -> int:
    """Embedding, four gates a layer with one bias each, and the head."""
    total, width = vocab * embedding, embedding
    for h in hidden:
        total += 4 * h * (width + h + 1)
        width = h
    return total + vocab + (0 if tied else width * vocab)


@pytest.mark.parametrize(
    ("config", "expected", "published"),
    [
        (zaremba.get_config("small"), 4_651_600, 4.65),
        (zaremba.get_config("medium"), 19_775_200, 19.78),
        (zaremba.get_config("large"), 66_022_000, 66.02),
        # AWD-LSTM publishes 24,221,600 with torch's second bias: 4 * (1150 + 1150 + 400) = 10,800 more.
        (awd.get_config(), 24_221_600 - 10_800, 24.21),
    ],
    ids=["small", "medium", "large", "awd"],
)
def test_parameter_counts_of_the_published_models(config, expected, published):
    model = config.model
    assert formula(model.embedding, tuple(model.hidden), model.tied) == expected
    assert count(config) == expected
    assert round(expected / 1e6, 2) == published


def test_a_tied_head_has_no_weight_of_its_own_and_uses_the_embedding():
    model = small(tied=True)
    params, tokens, carry = parts(model)
    assert set(params["head"]) == {"b"}
    out = model.apply(params, tokens, carry)
    by_hand = np.asarray(out.dropped) @ np.asarray(params["embedding"]).T + np.asarray(params["head"]["b"])
    np.testing.assert_allclose(out.logits, by_hand, rtol=1e-5, atol=1e-6)


def test_features_in_place_of_tokens():
    model = models.recurrent(outputs=2, input_dim=4, hidden=(H,))
    params = model.init(jax.random.key(0))
    assert "embedding" not in params
    assert params["layers"][0]["w_x"].shape[0] == 4
    out = model.apply(params, jnp.ones((T, B, 4)), model.carry(params, B))
    assert out.logits.shape == (T, B, 2)


def test_without_a_key_dropout_is_off():
    dropout = {name: 0.5 for name in RATES}
    plain, dropping = small(), small(dropout=dropout)
    params, tokens, carry = parts(plain)
    expected = plain.apply(params, tokens, carry)
    # With zoneout, no key means the expected state (Krueger 2017), so that one is left to its own tests.
    quiet = small(dropout={name: rate for name, rate in dropout.items() if "zoneout" not in name})
    assert_same(quiet.apply(params, tokens, carry).logits, expected.logits, rtol=1e-5, atol=1e-6)
    assert_same(quiet.apply(params, tokens, carry).carry, expected.carry, rtol=1e-5, atol=1e-6)
    once, again = (dropping.apply(params, tokens, carry).logits for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_all_rates_zero_with_a_key_is_deterministic():
    model = small(dropout={name: 0.0 for name in RATES})
    params, tokens, carry = parts(model)
    without = model.apply(params, tokens, carry)
    assert_same(model.apply(params, tokens, carry, key=jax.random.key(5)).logits, without.logits)


@pytest.mark.parametrize("name", RATES)
def test_each_dropout_acts_with_a_key_and_follows_it(name):
    model = small(dropout={name: 0.5})
    params, tokens, carry = parts(model)
    first, again, other = (
        model.apply(params, tokens, carry, key=jax.random.key(seed)).logits for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert np.abs(first - small().apply(params, tokens, carry).logits).max() > 1e-3


def test_output_dropout_is_seen_by_the_head_only():
    model = small(dropout={"output": 0.5})
    params, tokens, carry = parts(model)
    out = model.apply(params, tokens, carry, key=jax.random.key(3))
    plain = model.apply(params, tokens, carry)
    assert_same((out.hidden, out.carry), (plain.hidden, plain.carry))
    kept = np.asarray(out.dropped) != 0
    assert 0.2 < kept.mean() < 0.8
    np.testing.assert_allclose(np.asarray(out.dropped)[kept], 2 * np.asarray(out.hidden)[kept], rtol=1e-6)
    np.testing.assert_allclose(out.logits, model.head(params, out.dropped), rtol=1e-6)


@pytest.mark.parametrize("locked", [False, True])
def test_masks_over_time(locked):
    masks = np.asarray(models.drop(jnp.ones((T, B, 16)), 0.5, jax.random.key(0), locked=locked))
    assert set(np.unique(masks)) == {0.0, 2.0}
    for t in range(1, T):
        assert np.array_equal(masks[t], masks[0]) == locked
    assert not np.array_equal(masks[0, 0], masks[0, 1])  # each stream has its own


def test_the_model_locks_its_masks():
    for locked in (False, True):
        model = small(dropout={"output": 0.5, "locked": locked})
        params, tokens, carry = parts(model)
        kept = np.asarray(model.apply(params, tokens, carry, key=jax.random.key(3)).dropped) != 0
        assert np.all(kept == kept[:1]) == locked


def test_no_key_or_rate_zero_drops_nothing():
    x = jnp.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_array_equal(models.drop(x, 0.5, None), x)
    np.testing.assert_array_equal(models.drop(x, 0.0, jax.random.key(0)), x)


@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("rate", [0.1, 0.65])
def test_dropout_preserves_the_mean(rate, locked):
    n = 40_000 if locked else 10_000
    shape = (1, n, 1) if locked else (4, n, 1)
    mean = float(models.drop(jnp.ones(shape), rate, jax.random.key(0), locked=locked).mean())
    assert abs(mean - 1) < 4 * math.sqrt(rate / (1 - rate) / 40_000)  # four standard errors


@pytest.mark.parametrize("seed", range(3))
def test_embedding_dropout_drops_whole_word_types_once_a_window(seed):
    """The output is that of a table whose dropped rows are 0 and whose kept rows are scaled."""
    rate = 0.4
    model = small(dropout={"embedding": rate})
    params, tokens, carry = parts(model, length=12)
    key = jax.random.key(seed)

    def total(table):
        return model.apply(params | {"embedding": table}, tokens, carry, key=key).logits.sum()

    used = np.isin(np.arange(V), tokens)
    gradient = np.asarray(jax.grad(total)(params["embedding"]))
    dropped = used & np.all(gradient == 0, axis=-1)
    assert 0 < dropped.sum() < used.sum()
    scale = np.where(dropped, 0.0, 1 / (1 - rate)).astype(np.float32)
    masked = params | {"embedding": params["embedding"] * scale[:, None]}
    expected = small().apply(masked, tokens, carry)
    found = model.apply(params, tokens, carry, key=key)
    assert_same(found.logits, expected.logits, rtol=1e-5, atol=1e-5)


def test_weight_drop_changes_no_output_before_the_first_recurrence():
    model = small(hidden=(H,), dropout={"weight": 0.5})
    params, tokens, carry = parts(model)
    plain = model.apply(params, tokens, carry).hidden
    dropped = model.apply(params, tokens, carry, key=jax.random.key(3)).hidden
    np.testing.assert_allclose(dropped[0], plain[0], rtol=1e-5, atol=1e-6)  # h is 0: w_h has no say yet
    assert np.abs(dropped[1] - plain[1]).max() > 1e-4


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
def test_window_by_window_is_one_long_sequence(cell):
    model = small(cell={"name": cell})
    params, tokens, carry = parts(model, length=12)
    whole = model.apply(params, tokens, carry)
    logits = []
    for window in jnp.split(tokens, [5, 7]):
        out = model.apply(params, window, carry)
        carry = out.carry
        logits.append(out.logits)
    # Up to 12 steps of float32 with values below 1: a few roundings of 6e-8 a step.
    np.testing.assert_allclose(jnp.concatenate(logits), whole.logits, rtol=1e-5, atol=2e-6)
    assert_same(carry, whole.carry, rtol=1e-5, atol=2e-6)


def test_bfloat16_keeps_parameters_cell_state_and_logits_in_float32():
    model, exact = small(dtype="bfloat16"), small()
    params, tokens, carry = parts(model)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    out = model.apply(params, tokens, carry, key=jax.random.key(0))
    for layer in (*carry, *out.carry):
        assert layer.c.dtype == jnp.float32
        assert layer.h.dtype == jnp.bfloat16
    assert out.logits.dtype == jnp.float32
    assert out.hidden.dtype == jnp.bfloat16
    expected = exact.apply(params, tokens, exact.carry(params, B)).logits
    error = np.abs(out.logits - expected).max()
    assert 0 < error < 0.05 * np.abs(expected).max()  # bfloat16 rounds at 2^-9, over two layers and 6 steps


def test_around_stands_in_the_place_of_each_layers_cell():
    """A cell whose y is doubled in layer 1: what it passes up is doubled, what it carries is not."""
    model = small()
    params, tokens, carry = parts(model)

    def around(layer, cell):
        def update(*args):
            new, y, trace = cell.update(*args)
            return new, 2 * y, trace

        return cell if layer == 0 else cell._replace(update=update)

    plain, changed = model.apply(params, tokens, carry), model.apply(params, tokens, carry, around=around)
    assert_same(changed.carry, plain.carry)
    assert_same(changed.hidden, 2 * plain.hidden, rtol=1e-6)
    assert_same(model.apply(params, tokens, carry, around=lambda _, cell: cell), plain)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(dropout={"imput": 0.1}), "did you mean 'input'"),
        (dict(dropout={"input": 1.0}), r"dropout.input=1.0: a rate lies in \[0, 1\)"),
        (dict(dropout={"weight": -0.1}), r"dropout.weight=-0.1"),
        (dict(tied=True, embedding=H + 1), f"set model.embedding={H}"),
        (dict(tied=True, outputs=V + 1), "tied"),
        (dict(input_dim=4), "exactly one"),
        (dict(vocab=None), "exactly one"),
        (dict(dtype="float16"), "allowed: float32, bfloat16"),
        (dict(hidden=()), "one positive width a layer"),
        (dict(hidden=(4, 0)), "one positive width a layer"),
        (dict(init="normal"), "uniform"),
        (dict(cell={"name": "lstmm"}), "did you mean 'lstm'"),
        (dict(backend="scam"), "did you mean 'scan'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_in_one_line(changes, said):
    with pytest.raises(UserError, match=said) as caught:
        small(**changes)
    assert "\n" not in str(caught.value)
