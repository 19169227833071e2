"""Each form of the initial forget bias against its closed form, the strings that name it, and frozen rows."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import cells
from lstm_jax.cells.forget_bias import Form, inverse_gamma, parse
from lstm_jax.support.errors import UserError
from tests import step_loop

MANY = 4096
# The standard error of a sampled quantile of probability p is sqrt(p (1 - p) / n): at most 0.8 %.
PROBABILITIES = np.array([0.05, 0.25, 0.5, 0.75, 0.95])


def bias(spec, hidden=MANY, layer=0, layers=1, seed=0, **options):
    """The bias rows i, f, g, o of a fresh LSTM whose initializer draws none of its own."""
    cell = cells.lstm(hidden, forget_bias=spec, layer=layer, layers=layers, **options)
    draws = cells.lstm(1).init(jax.random.key(0), 1)  # one cheap cell proves that lecun's own biases are 0
    assert not np.any(np.delete(draws["b"], 1, axis=0))
    # Only the bias is wanted: no orthogonal matrix of 4096 x 4096 is computed under jit.
    return np.asarray(jax.jit(lambda key: cell.init(key, 1)["b"])(jax.random.key(seed)), np.float64)


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def assert_distribution(values, cdf):
    """The cdf of the sampled quantiles is the probability: 5 standard errors of slack."""
    reached = cdf(np.quantile(values, PROBABILITIES))
    slack = 5 * np.sqrt(PROBABILITIES * (1 - PROBABILITIES) / len(values))
    assert (np.abs(reached - PROBABILITIES) < slack).all(), (reached, PROBABILITIES)


# ---------------------------------------------------------------- the forms


@pytest.mark.parametrize(("spec", "value"), [(0.0, 0), (1, 1), ("1", 1), (" -2.5 ", -2.5), ("1e1", 10)])
def test_a_number_fills_the_forget_row_alone(spec, value):
    b = bias(spec, hidden=6)
    np.testing.assert_array_equal(b[1], np.full(6, value))
    assert not np.delete(b, 1, axis=0).any()


def test_an_array_gives_each_unit_its_own():
    np.testing.assert_array_equal(bias(jnp.arange(4.0), hidden=4)[1], [0, 1, 2, 3])
    with pytest.raises(UserError, match=r"shape \(3,\); allowed: a number, or \[4\]"):
        bias(jnp.arange(3.0), hidden=4)


@pytest.mark.parametrize("longest", [3, 784])
def test_chrono_is_the_log_of_a_uniform(longest):
    b = bias(f"chrono({longest})")
    f = b[1]
    assert f.min() >= 0 and f.max() <= math.log(longest - 1) + 1e-6
    assert_distribution(f, lambda x: (np.exp(x) - 1) / (longest - 2))
    np.testing.assert_array_equal(b[0], -f)
    assert not b[2:].any()
    # Memory of 1 / (1 - f) = 1 + u steps, u uniform in [1, T_max - 1]: never longer than T_max.
    assert 1 / (1 - sigmoid(f)).min() <= longest * (1 + 1e-5)


def test_uniform_gates_start_uniform():
    b = bias("uniform")
    f = sigmoid(b[1])
    assert f.min() >= 1 / MANY - 1e-6 and f.max() <= 1 - 1 / MANY + 1e-6
    assert_distribution(f, lambda x: (x - 1 / MANY) / (1 - 2 / MANY))
    assert not np.delete(b, 1, axis=0).any()


def test_uniform_gates_keep_their_bounds_in_a_small_layer():
    draw = parse("uniform").draw
    f = sigmoid(np.asarray(jax.vmap(lambda key: draw(key, 4))(jax.random.split(jax.random.key(0), 20))))
    assert f.min() >= 0.25 - 1e-6 and f.max() <= 0.75 + 1e-6
    assert f.min() < 0.35 and f.max() > 0.65


@pytest.mark.parametrize("steps", [0.01, 0.5, 1, 3, 20, 1e4])
def test_a_timescale_inverts_to_the_forget_gate(steps):
    b = bias(f"timescale({steps})", hidden=5)
    # f itself for short memories, 1 - f for long ones: float32 near 1 has no digits for the latter.
    if steps < 10:
        np.testing.assert_allclose(-np.log(sigmoid(b[1])), 1 / steps, rtol=2e-6)
    np.testing.assert_allclose(sigmoid(-b[1]), -math.expm1(-1 / steps), rtol=2e-5)
    np.testing.assert_array_equal(b[0], -b[1])
    assert not b[2:].any()


def test_several_timescales_share_the_units_in_blocks():
    f = sigmoid(bias("timescale(3, 4)", hidden=5)[1])
    np.testing.assert_allclose(-1 / np.log(f), [3, 3, 3, 4, 4], rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_timescales_from_an_inverse_gamma(scale):
    """At alpha = 1/2, T = scale / Gamma(1/2) has the closed form P(T < t) = erfc(sqrt(scale / t))."""
    b = bias(f"timescale(inverse_gamma, 0.5, {scale})")
    steps = 1 / np.log1p(np.exp(-b[1]))  # -1 / log sigmoid(b), without the cancellation
    assert_distribution(steps, np.vectorize(lambda t: math.erfc(math.sqrt(scale / t))))
    np.testing.assert_array_equal(b[0], -b[1])


@pytest.mark.parametrize("alpha", [0.05, 0.56, 30.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_every_drawn_timescale_is_a_finite_bias(alpha, scale):
    values = inverse_gamma(alpha, scale).draw(jax.random.key(0), MANY)
    assert np.isfinite(values).all()


@pytest.mark.parametrize(("layer", "layers", "power"), [(0, 1, 0.3), (0, 3, 0.3), (1, 3, 0.95), (2, 3, 1.6)])
def test_powerlaw(layer, layers, power):
    b = bias("powerlaw", hidden=7, layer=layer, layers=layers)
    np.testing.assert_allclose(b[1], [5 - 12 * (j / 6) ** power for j in range(7)], rtol=1e-6)
    assert b[1, 0] == 5 and b[1, 6] == -7
    assert not np.delete(b, 1, axis=0).any()
    assert bias("powerlaw", hidden=1)[1] == 5


def test_a_function_of_the_key_and_the_size():
    np.testing.assert_array_equal(bias(lambda key, hidden: jnp.arange(float(hidden)), hidden=3)[1], [0, 1, 2])
    b = bias(Form(lambda key, hidden: jnp.full(hidden, 2.0), opposite=True), hidden=3)
    np.testing.assert_array_equal(b[:2], [[-2] * 3, [2] * 3])
    with pytest.raises(UserError, match=r"returned shape \(\); it must be \[3\]"):
        bias(lambda key, hidden: jnp.float32(1), hidden=3)


@pytest.mark.parametrize("spec", ["chrono(50)", "uniform", "timescale(inverse_gamma, 0.56, 1)"])
def test_draws_follow_the_key(spec):
    one, again, other = (bias(spec, hidden=8, seed=seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


# ---------------------------------------------------------------- one value a layer


def test_a_value_for_each_layer():
    for spec in ("0,1,2", (0, 1, 2), [0.0, "1", 2]):
        assert [bias(spec, 2, layer, 3)[1, 0] for layer in range(3)] == [0, 1, 2]
    assert bias("timescale(3, 4), 1", 2, 1, 2)[1, 0] == 1
    first = sigmoid(bias("timescale(3, 4), 1", 2, 0, 2)[1])
    np.testing.assert_allclose(-1 / np.log(first), [3, 4], rtol=1e-5)
    assert bias("2", 2, 1, 2)[1, 0] == 2  # one value serves all


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("chromo(9)", "unknown forget_bias 'chromo': did you mean 'chrono'"),
        ("0,1,2", "gives 3 values for 2 layers; give one value for all, or one a layer"),
        ((1,), "gives 1 values for 2 layers"),
        ("chrono", "chrono takes T_max in steps"),
        ("chrono(9, 9)", "chrono takes T_max in steps"),
        ("chrono(x)", "chrono takes T_max in steps"),
        ("chrono(2)", "T_max must exceed 2 steps"),
        ("timescale", "timescale takes T in steps"),
        ("timescale(0)", "positive numbers of steps"),
        ("timescale(inverse_gamma, 1)", "inverse_gamma, alpha, scale"),
        ("timescale(inverse_gamma, 1, -1)", "alpha and scale must be positive"),
        ("timescale(nan)", "timescale takes T in steps"),
        ("uniform(3)", "uniform takes no arguments"),
        ("powerlaw(3)", "powerlaw takes no arguments"),
        ("nan", "is not finite"),
        ("", "is not of the form"),
        ("1 2", "is not of the form"),
        ("chrono(9", "is not of the form"),
        (None, "None is no value"),
        (float("nan"), "nan is not finite"),
        ([math.inf, 1], "inf is not finite"),
        (np.array([0.0, -math.inf]), "is not finite"),
    ],
)
def test_a_bad_spec_is_refused_with_what_is_allowed(spec, message):
    with pytest.raises(UserError) as caught:
        parse(spec, 0, 2)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_uniform_gates_need_two_units():
    with pytest.raises(UserError, match="at least 2 hidden units"):
        bias("uniform", hidden=1)


# ---------------------------------------------------------------- frozen rows


@pytest.mark.parametrize(("spec", "rows"), [("2", [1]), ("timescale(5)", [0, 1]), ("powerlaw", [1])])
def test_frozen_rows_hold_the_form_alone_and_get_no_gradient(spec, rows):
    """Under an initializer that draws biases too, so that a leak of its draw would show."""
    cell = cells.lstm(4, forget_bias=spec, forget_bias_trainable=False, init="uniform(0.1)")
    params = cell.init(jax.random.key(0), 3)
    rows, free = np.array(rows), np.array([row for row in range(4) if row not in rows])
    np.testing.assert_array_equal(params["b_fixed"][rows], bias(spec, hidden=4)[rows])
    assert not np.any(params["b_fixed"][free])
    assert not np.any(params["b"][rows])
    assert np.all(params["b"][free] != 0)

    xs = jax.random.normal(jax.random.key(1), (5, 2, 3))
    grads = jax.grad(lambda p: jnp.sum(step_loop.run(cell, p, xs)[1]))(params)
    assert not np.any(grads["b_fixed"])
    assert not np.any(grads["b"][rows])
    assert np.all(grads["b"][free] != 0)


def test_a_frozen_bias_acts_as_the_trainable_one_of_the_same_value():
    xs = jax.random.normal(jax.random.key(1), (5, 2, 3))
    ys = []
    for trainable in (True, False):
        cell = cells.lstm(4, forget_bias="timescale(5)", forget_bias_trainable=trainable)
        ys.append(step_loop.run(cell, cell.init(jax.random.key(0), 3), xs)[1])
    np.testing.assert_array_equal(*ys)


def test_noise_on_the_frozen_rows_of_b_is_without_effect():
    """A penalty or a perturbation that reaches all of `b` must not move a frozen gate."""
    cell = cells.lstm(4, forget_bias="timescale(5)", forget_bias_trainable=False)
    params = cell.init(jax.random.key(0), 3)
    xs = jax.random.normal(jax.random.key(1), (5, 2, 3))
    noisy = params | {"b": params["b"].at[:2].add(0.5)}
    np.testing.assert_array_equal(step_loop.run(cell, noisy, xs)[1], step_loop.run(cell, params, xs)[1])


def test_at_zero_input_a_frozen_timescale_forgets_as_it_says():
    """c decays by exp(-1/T) a step where the weights are zero: what the form promises, on the cell itself."""
    cell = cells.lstm(4, forget_bias="timescale(7)", forget_bias_trainable=False, init="uniform(0)")
    params = cell.init(jax.random.key(0), 1)
    start = cells.LSTMCarry(c=jnp.ones((1, 4)), h=jnp.zeros((1, 4)))
    carry, _, _ = step_loop.run(cell, params, jnp.zeros((7, 1, 1)), start)
    np.testing.assert_allclose(carry.c, math.exp(-1), rtol=1e-5)
