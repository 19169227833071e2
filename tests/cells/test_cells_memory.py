"""What the cells with an associative memory claim beside their equations: limits, reductions, bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import cells, unroll
from lstm_jax.cells.attention_lstm import attend
from lstm_jax.cells.plastic import RULES
from lstm_jax.support.errors import UserError
from tests import step_loop

T, B, D, H = 8, 3, 4, 5
# float32 keeps 6e-8 relative; sums of ~10 terms of order 1 over 8 steps stay well within this.
CLOSE = dict(rtol=2e-5, atol=2e-6)
MEMORIES = ("fast_weights", "plastic", "plastic_lstm", "attention_lstm")


def build(name, **options):
    cell = cells.make_cell(name, H, **options)
    return cell, cell.init(jax.random.key(1), D)


def inputs(steps=T):
    return jax.random.normal(jax.random.key(2), (steps, B, D))


def assert_equal(one, two):
    jax.tree.map(np.testing.assert_array_equal, one, two)


@pytest.mark.parametrize("name", MEMORIES)
def test_the_recurrent_product_is_linear_and_the_update_mixes_units(name):
    cell, _ = build(name)
    assert cell.linear and not cell.pointwise


# ---------------------------------------------------------------- fast weights


def attention_to_the_past(p, xs, decay, eta, inner):
    """Ba 2016, equation 3: no matrix, but every past state, weighed by its age and its product with h_s."""

    def norm(a):
        return p["gain"] * (a - a.mean()) / np.sqrt(a.var() + 1e-5) + p["shift"]

    past, h = [], np.zeros(H)
    for x in xs:
        slow = x @ p["w_x"][:, 0] + h @ p["w_h"][:, 0] + p["b"][0]
        h = np.maximum(slow, 0)
        for _ in range(inner):
            seen = sum(decay**age * (s @ h) * s for age, s in enumerate(reversed(past)))
            h = np.maximum(norm(slow + eta * seen), 0)
        past.append(h)
    return np.array(past)


@pytest.mark.parametrize("inner", [1, 3])
def test_fast_weights_are_attention_to_past_states(inner):
    cell, params = build("fast_weights", inner=inner, decay=0.9, eta=0.3)
    ys = step_loop.run(cell, params, inputs())[1]
    exact = {leaf: np.asarray(value, np.float64) for leaf, value in params.items()}
    for b in range(B):
        expected = attention_to_the_past(exact, np.asarray(inputs()[:, b], np.float64), 0.9, 0.3, inner)
        np.testing.assert_allclose(ys[:, b], expected, rtol=1e-4, atol=1e-5)


def test_fast_weights_decay_and_grow_as_told():
    """A after t steps is eta times the sum of decay^age h h^T."""
    cell, params = build("fast_weights", decay=0.5, eta=0.25)
    carry, ys, trace = step_loop.run(cell, params, inputs())
    ages = 0.5 ** np.arange(T)[::-1]
    np.testing.assert_allclose(carry.a, 0.25 * np.einsum("t,tbi,tbj->bij", ages, ys, ys), **CLOSE)
    assert not np.any(trace["fast"][0]) and np.any(trace["fast"][1])
    without = build("fast_weights", eta=0.0)[0]
    assert not np.any(step_loop.run(without, params, inputs())[0].a)


def test_slow_weights_start_near_nothing_as_in_the_public_implementations():
    """At 0.05 I the slow product hardly mixes the units; None starts it as every other cell's."""
    _, params = build("fast_weights")
    np.testing.assert_array_equal(params["w_h"], np.float32(0.05) * np.eye(H, dtype=np.float32)[:, None])
    w = np.asarray(build("fast_weights", identity=None)[1]["w_h"][:, 0])
    np.testing.assert_allclose(w @ w.T, np.eye(H), atol=1e-5)  # orthogonal: init "lecun"


# ---------------------------------------------------------------- plastic connections


@pytest.mark.parametrize("rule", ["hebb", "oja"])
def test_without_plasticity_the_plastic_network_is_elmans(rule):
    cell, params = build("plastic", alpha=0.0, rule=rule)
    assert not np.any(params["alpha"])
    carry, ys, _ = step_loop.run(cell, params, inputs())
    np.testing.assert_allclose(ys, step_loop.run(build("elman")[0], params, inputs())[1], **CLOSE)
    assert np.any(carry.hebb)


@pytest.mark.parametrize(("rule", "left"), [("hebb", 0.8**T), ("oja", 1.0)])
def test_in_silence_hebb_forgets_and_oja_does_not(rule, left):
    cell, params = build("plastic", rule=rule, eta=0.2)
    hebb = jax.random.normal(jax.random.key(4), (B, H, H))
    start = cell.carry(params, B)._replace(hebb=hebb)
    carry, ys, _ = step_loop.run(cell, params, jnp.zeros((T, B, D)), start)
    assert not np.any(ys)
    np.testing.assert_allclose(carry.hebb, left * hebb, **CLOSE)


def test_ojas_connections_settle_where_the_units_before_and_after_say():
    """y_j (y_prev_i - y_j Hebb_ij) is 0 at Hebb_ij = y_prev_i / y_j, whatever eta is."""
    before, after = jnp.array([[0.5, -0.8]]), jnp.array([[0.9, -0.6]])
    hebb = jnp.zeros((1, 2, 2))
    for _ in range(200):  # what is left after a step is at most 1 - 0.3 * 0.6^2, about 0.9
        hebb = RULES["oja"](hebb, 0.3, before, after)
    np.testing.assert_allclose(hebb[0], before[0][:, None] / after[0], rtol=1e-4)


@pytest.mark.parametrize("modulation", ["none", "state"])
def test_without_plasticity_the_plastic_lstm_is_the_lstm(modulation):
    cell, params = build("plastic_lstm", alpha=0.0, modulation=modulation, forget_bias="chrono(9)")
    carry, ys, trace = step_loop.run(cell, params, inputs())
    lstm, plain = build("lstm", forget_bias="chrono(9)")
    assert_equal(plain, {leaf: params[leaf] for leaf in plain})
    expected, expected_ys, expected_trace = step_loop.run(lstm, plain, inputs())
    assert_equal((carry.c, carry.h, ys), (expected.c, expected.h, expected_ys))
    assert_equal({gate: trace[gate] for gate in expected_trace}, expected_trace)
    assert np.any(carry.hebb)


def test_the_hebbian_trace_of_the_lstm_stays_within_its_clip():
    cell, params = build("plastic_lstm", eta=1.0, clip=0.3)
    hebb = np.abs(step_loop.run(cell, params, 3 * inputs(30))[0].hebb)
    assert hebb.max() == np.float32(0.3)
    assert (hebb == np.float32(0.3)).mean() > 0.2


def test_a_fan_out_of_zero_modulates_nothing():
    cell, params = build("plastic_lstm", modulation="state", eta=0.2, alpha=0.5)
    params |= {"fan_out": jnp.zeros(H)}
    _, ys, trace = step_loop.run(cell, params, inputs())
    np.testing.assert_array_equal(trace["eta"], np.full((T, B, H), np.float32(0.2)))
    plain, _ = build("plastic_lstm", eta=0.2, alpha=0.5)
    np.testing.assert_allclose(ys, step_loop.run(plain, params, inputs())[1], **CLOSE)


# ---------------------------------------------------------------- attention over past states


def of_the_lstm(params):
    """The LSTM's leaves of the attention LSTM: without the query's row and the read's weights."""
    return {"w_x": params["w_x"][:, :4], "w_h": params["w_h"][:, :4], "b": params["b"][:4]}


def test_with_no_past_the_attention_lstm_is_the_lstm():
    cell, params = build("attention_lstm")
    _, ys, trace = step_loop.run(cell, params, inputs())
    plain = step_loop.run(build("lstm")[0], of_the_lstm(params), inputs())[1]
    np.testing.assert_allclose(ys[0], plain[0], **CLOSE)
    assert not np.any(trace["attention"][0])
    assert np.abs(ys[2:] - plain[2:]).max() > 1e-3
    unread = {**params, "w_h_read": jnp.zeros_like(params["w_h_read"])}
    np.testing.assert_allclose(step_loop.run(cell, unread, inputs())[1], plain, **CLOSE)


def test_one_slot_reads_the_last_state():
    """Then the read is h itself: the LSTM whose recurrent weights are the sum of the two."""
    cell, params = build("attention_lstm", slots=1)
    merged = of_the_lstm(params)
    merged["w_h"] = merged["w_h"] + params["w_h_read"]
    expected = step_loop.run(build("lstm")[0], merged, inputs())[1]
    np.testing.assert_allclose(step_loop.run(cell, params, inputs())[1], expected, **CLOSE)


def test_the_memory_holds_the_last_states_newest_first_and_no_more():
    cell, params = build("attention_lstm", slots=3)
    carry, ys, trace = step_loop.run(cell, params, inputs())
    assert carry.memory.shape == (B, 3, H)
    np.testing.assert_array_equal(carry.memory, np.swapaxes(ys[:-4:-1], 0, 1))
    np.testing.assert_array_equal(carry.held, np.full(B, 3.0))
    short = step_loop.run(cell, params, inputs()[:2])[0]
    np.testing.assert_array_equal(short.memory[:, 2], np.zeros((B, H)))
    np.testing.assert_array_equal(short.held, np.full(B, 2.0))
    attention = np.asarray(trace["attention"])
    assert attention.shape == (T, B, 3)
    filled = np.arange(3) < np.arange(T)[:, None]
    np.testing.assert_array_equal(attention > 0, np.broadcast_to(filled[:, None], attention.shape))
    np.testing.assert_allclose(attention[1:].sum(-1), 1.0, rtol=1e-6)


def test_slots_that_never_fill_change_nothing_and_fewer_do():
    params = build("attention_lstm")[1]
    runs = {m: step_loop.run(build("attention_lstm", slots=m)[0], params, inputs())[1] for m in (3, T, 30)}
    np.testing.assert_allclose(runs[T], runs[30], **CLOSE)
    np.testing.assert_allclose(runs[3][:4], runs[30][:4], **CLOSE)  # in step 5 the first state is gone
    assert np.abs(runs[3][4:] - runs[30][4:]).max() > 1e-5


def test_attention_finds_the_state_that_the_query_names():
    memory = 10 * jnp.eye(5)[None]
    for slot in range(5):
        weights, read = attend(10 * jnp.eye(5)[slot][None], memory, jnp.array([4.0]))
        if slot < 4:
            np.testing.assert_allclose(weights[0], np.eye(5)[slot], atol=1e-6)
            np.testing.assert_allclose(read[0], memory[0, slot], atol=1e-5)
        else:
            assert weights[0, 4] == 0  # it is there, but not held


# ---------------------------------------------------------------- forget bias, options, errors


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("spec", ["2", "chrono(9)", "uniform", "timescale(3,4)", "powerlaw"])
@pytest.mark.parametrize("name", ["plastic_lstm", "attention_lstm"])
def test_every_forget_bias_form_fills_row_1(name, spec, trainable):
    options = dict(forget_bias=spec, forget_bias_trainable=trainable)
    params, plain = build(name, **options)[1], build("lstm", **options)[1]
    leaf = "b" if trainable else "b_fixed"
    np.testing.assert_array_equal(params[leaf][:2], plain[leaf][:2])
    assert np.any(params[leaf][1]) and not np.any(params[leaf][2:])


def test_options_as_text():
    cell = cells.make_cell("attention_lstm", H, options="slots=3")
    assert cell.carry(cell.init(jax.random.key(0), D), B).memory.shape == (B, 3, H)
    cells.make_cell("plastic", H, options="rule=oja,eta=0.1")
    cells.make_cell("plastic_lstm", H, options="modulation=state,clip=1")
    cells.make_cell("fast_weights", H, options="inner=2,activation=tanh,decay=0.9")


BAD = {
    "rule of the cell 'plastic' 'hebbb': did you mean 'hebb'": ("plastic", dict(rule="hebbb")),
    "plastic eta rate 2": ("plastic", dict(eta=2.0)),
    "modulation of the cell 'plastic_lstm'": ("plastic_lstm", dict(modulation="dopamine")),
    "clip -1 must be positive": ("plastic_lstm", dict(clip=-1)),
    "plastic_lstm eta rate -1": ("plastic_lstm", dict(eta=-1.0)),
    "unknown activation 'softplus'": ("fast_weights", dict(activation="softplus")),
    "decay rate 1.1": ("fast_weights", dict(decay=1.1)),
    "inner must be a positive whole number": ("fast_weights", dict(inner=0)),
    "slots must be a positive whole number": ("attention_lstm", dict(slots=0)),
}


@pytest.mark.parametrize("said", BAD)
def test_bad_options_are_refused_in_one_line(said):
    name, options = BAD[said]
    with pytest.raises(UserError, match=said) as caught:
        cells.make_cell(name, H, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["eta", "alpha"])
def test_vmaps_over_its_float_options(option):
    def last(value):
        cell = cells.make_cell("plastic", H, **{option: value})
        return unroll.unroll(cell, cell.init(jax.random.key(1), D), inputs()).ys[-1]

    members = jax.vmap(last)(jnp.array([0.1, 0.9]))
    np.testing.assert_allclose(members[1], last(0.9), **CLOSE)
    assert np.abs(members[0] - members[1]).max() > 1e-4
