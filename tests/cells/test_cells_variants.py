"""What the variants of the LSTM claim beyond their equations: reductions, bounds, how their biases start."""

import inspect
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import cells, unroll
from lstm_jax.cells import forget_bias
from lstm_jax.cells.activations import ACTIVATIONS, activation_function
from lstm_jax.cells.greff import ABLATIONS
from lstm_jax.cells.multi_timescale import RECIPE
from lstm_jax.cells.ur_lstm import refined
from lstm_jax.support.errors import UserError
from lstm_jax.unroll.properties import values_and_gradients
from tests import oracles, step_loop
from tests.oracles.frame import BENT

T, B, D, H = 5, 3, 4, 5
# float32 keeps 6e-8 relative; sums of ~10 terms of order 1 over 5 steps stay well within this.
CLOSE = dict(rtol=2e-5, atol=2e-6)
KEY = jax.random.key(1)


def made(name, hidden=H, **options):
    cell = cells.make_cell(name, hidden, **({"init": "uniform(0.6)"} | options))
    return cell, cell.init(KEY, D)


def inputs(scale=1.0):
    return scale * jax.random.normal(jax.random.key(2), (T, B, D))


def state(cell, params):
    """A carry that no zero hides, of numbers within 1."""
    leaves, tree = jax.tree.flatten(cell.carry(params, B))
    keys = jax.random.split(jax.random.key(3), len(leaves))
    drawn = [jnp.tanh(jax.random.normal(k, leaf.shape)) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, drawn)


def run(made_cell, start=None, xs=None):
    cell, params = made_cell
    start = state(cell, params) if start is None else start
    return step_loop.run(cell, params, inputs() if xs is None else xs, start)


def assert_close(actual, desired, **tolerance):
    def close(a, d):
        np.testing.assert_allclose(
            np.asarray(a, np.float64), np.asarray(d, np.float64), **(CLOSE | tolerance)
        )

    jax.tree.map(close, actual, desired)


# ---------------------------------------------------------------- activations


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_what_its_name_says(name):
    a = np.array([-9.0, -3.0, -1.0, -0.4, 0.0, 0.3, 1.0, 2.9, 8.0], np.float32)
    np.testing.assert_allclose(ACTIVATIONS[name](a), BENT[name](a.astype(np.float64)), rtol=1e-6, atol=1e-7)
    assert ACTIVATIONS[name](jnp.bfloat16(0.5)).dtype == jnp.bfloat16
    assert np.isfinite(jax.vmap(jax.grad(ACTIVATIONS[name]))(1e4 * a)).all()


def test_relu_has_no_slope_at_zero():
    assert jax.grad(ACTIVATIONS["relu"])(0.0) == 0.0


def test_a_function_is_an_activation_and_an_unknown_name_is_none():
    assert activation_function(jnp.sin) is jnp.sin
    with pytest.raises(UserError, match="unknown activation 'tanhh': did you mean 'tanh'"):
        cells.lstm(H, activation="tanhh")
    with pytest.raises(UserError, match="unknown activation 3"):
        cells.make_cell("lstm", H, options="gate_activation=3")


BENDING = [n for n, f in cells.CELLS.items() if "activation" in inspect.signature(f).parameters]


def bent(name):
    """The cell with other functions than its usual ones, and all its options."""
    options = {"activation": "softsign"}
    if "gate_activation" in inspect.signature(cells.CELLS[name]).parameters:
        options["gate_activation"] = "hard_sigmoid"
    text = ",".join(f"{option}={function}" for option, function in options.items())
    return oracles.small(name, H, init="uniform(0.6)", options=text), oracles.facts(name).options | options


@pytest.mark.parametrize("name", BENDING)
def test_activations_by_name_are_those_of_the_oracle(name):
    cell, options = bent(name)
    params = cell.init(KEY, D)
    start = oracles.facts(name).valid(state(cell, params))
    carry, ys, trace = step_loop.run(cell, params, inputs(), start)
    assert_close((carry._asdict(), ys, trace), oracles.run(name, params, start, inputs(), options=options))
    usual = oracles.run(name, params, start, inputs(), options=oracles.facts(name).options)
    assert not np.allclose(ys, usual[1])


@pytest.mark.parametrize("name", BENDING)
def test_a_cell_with_other_functions_has_another_name_and_unknown_ones_are_refused(name):
    factory = inspect.signature(cells.CELLS[name]).parameters
    for option in {"activation", "gate_activation"} & set(factory):
        usual = factory[option].default
        assert oracles.small(name, H, **{option: usual}).name == name
        other = oracles.small(name, H, **{option: "softsign"}).name
        assert other.startswith(f"{name}(") and "softsign" in other
        with pytest.raises(UserError, match="unknown activation 'tanhh': did you mean 'tanh'") as caught:
            oracles.small(name, H, options=f"{option}=tanhh")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["gru", "on_lstm"])
def test_the_backward_of_other_functions(name):
    cell, _ = bent(name)
    params = cell.init(KEY, D)
    given = params, inputs(), state(cell, params)
    assert_close(*(values_and_gradients(cell, *given, backend=backend) for backend in ("scan", "loop")))


def test_the_lstm_of_no_options_is_the_program_that_it_was():
    """What its step costs is what it cost before it had options: five costly functions, three products."""
    cell, params = made("lstm")
    seen, zs = cell.prepare(params, inputs(), None)
    start = cell.carry(params, B)
    jaxpr = jax.make_jaxpr(cell.update)(seen, start, zs[0], cell.recur(seen, start)).jaxpr
    names = Counter(eqn.primitive.name for eqn in jaxpr.eqns)
    assert names == dict(add=2, reshape=1, split=1, logistic=3, tanh=2, mul=3)


def test_cudnn_does_not_take_an_lstm_of_other_activations_for_the_lstm():
    for options in (dict(activation="relu"), dict(gate_activation=jnp.cos)):
        with pytest.raises(UserError, match="the cell 'lstm' only"):
            unroll.choose(cells.lstm(H, **options), "cudnn", platform="gpu")


# ---------------------------------------------------------------- reductions


def test_greff_without_peepholes_is_the_lstm():
    lstm, greff = made("lstm"), made("greff", variant="np")
    jax.tree.map(np.testing.assert_array_equal, greff[1], lstm[1])
    start = state(*lstm)
    jax.tree.map(np.testing.assert_array_equal, tuple(run(greff, start)), tuple(run(lstm, start)))


def test_vanilla_is_peephole_and_without_the_weights_of_its_peepholes_the_lstm():
    cell, params = made("peephole")
    vanilla = made("greff")
    jax.tree.map(np.testing.assert_array_equal, params, vanilla[1])
    jax.tree.map(np.testing.assert_array_equal, run((cell, params)), run(vanilla))
    blind = {**params, "peephole": jnp.zeros_like(params["peephole"])}
    assert_close(run((cell, blind)), run((made("lstm")[0], params)))
    assert not np.any(cells.peephole(H).init(KEY, D)["peephole"])  # lecun's biases: it starts as the LSTM


@pytest.mark.parametrize(("variant", "missing"), [("nig", "i"), ("nfg", "f"), ("nog", "o")])
def test_a_gate_that_is_not_there_is_one_that_stays_open(variant, missing):
    cell, params = made("greff", variant=variant)
    at = "ifgo".index(missing)
    full = {
        "w_x": jnp.insert(params["w_x"], at, 0.0, axis=1),
        "w_h": jnp.insert(params["w_h"], at, 0.0, axis=1),
        "b": jnp.insert(params["b"], at, 40.0, axis=0),  # sigmoid(40) is 1 in float32
        "peephole": jnp.insert(params["peephole"], "ifo".index(missing), 0.0, axis=0),
    }
    carry, ys, trace = run((cells.greff(H), full), state(cell, params))
    np.testing.assert_array_equal(trace.pop(missing), np.ones((T, B, H)))
    assert_close(run((cell, params)), (carry, ys, trace))


def test_the_lstm_of_1997_is_the_lstm_that_forgets_nothing():
    cell, params = made("lstm_1997")
    full = {
        "w_x": jnp.insert(params["w_x"], 1, 0.0, axis=1),
        "w_h": jnp.insert(params["w_h"], 1, 0.0, axis=1),
        "b": jnp.insert(params["b"], 1, 40.0, axis=0),
    }
    carry, ys, trace = run((cells.lstm(H), full), state(cell, params))
    trace.pop("f")
    assert_close(run((cell, params)), (carry, ys, trace))


def test_gates_that_do_not_recur_are_vanilla():
    cell, params = made("greff", variant="fgr")
    still = {**params, "w_h_gates": jnp.zeros_like(params["w_h_gates"])}
    start = state(cell, params)
    carry, ys, trace = run((cell, still), start)
    vanilla, vanilla_ys, vanilla_trace = run((cells.greff(H), params), cells.LSTMCarry(start.c, start.h))
    assert_close((carry.c, carry.h, ys, trace), (*vanilla, vanilla_ys, vanilla_trace))
    assert not np.allclose(run((cell, params), start)[1], ys)
    for gate in "ifo":
        np.testing.assert_array_equal(getattr(carry, gate), trace[gate][-1])


def test_refine_gates_at_one_half_leave_coupled_gates():
    """UR-LSTM with r = 1/2 is CIFG without peepholes: (1 - 2 r) u^2 + 2 r u = u."""
    cell, params = made("ur_lstm", forget_bias=1.0)
    half = {
        **params,
        **{leaf: params[leaf].at[:, 0].set(0.0) for leaf in ("w_x", "w_h")},
        "b": params["b"].at[0].set(0.0),
    }
    coupled = {leaf: half[leaf][:, 1:] for leaf in ("w_x", "w_h")}
    coupled |= {"b": half["b"][1:], "peephole": jnp.zeros((2, H))}
    carry, ys, trace = run((cell, half))
    expected = run((cells.greff(H, variant="cifg"), coupled), state(cell, params))
    assert_close((carry, ys, {gate: trace[gate] for gate in "ifgoc"}), expected)


def test_the_cap_changes_nothing_where_the_gates_leave_room():
    cell, params = made("capped_lstm", forget_bias=-6.0)
    shy = {**params, "b": params["b"].at[0].add(-6.0)}
    assert_close(run((cell, shy)), run((cells.lstm(H), shy)))


def test_layer_normalised_sums_do_not_see_the_scale_of_the_weights():
    cell, params = made("layer_norm_lstm")
    large = {**params, "w_x": 64.0 * params["w_x"], "w_h": 64.0 * params["w_h"]}
    # Not exactly: 1e-5 is added to variances of 0.05 and more. From h = 0, so that no small h is blown up.
    assert_close(run((cell, large)), run((cell, params)), rtol=2e-3, atol=2e-3)
    assert not np.allclose(run((cells.lstm(H), large))[1], run((cells.lstm(H), params))[1], atol=0.1)


def test_the_irnn_copies_its_state_until_it_is_told_otherwise():
    cell = cells.irnn(H)
    params = cell.init(KEY, D)
    np.testing.assert_array_equal(params["w_h"][:, 0], np.eye(H))
    start = cells.ElmanCarry(jnp.abs(state(cell, params).h))
    _, ys, _ = run((cell, params), start, jnp.zeros((T, B, D)))
    np.testing.assert_array_equal(ys, np.broadcast_to(start.h, (T, B, H)))
    fading = cells.irnn(H, scale=0.5)
    _, ys, _ = run((fading, fading.init(KEY, D)), start, jnp.zeros((T, B, D)))
    np.testing.assert_array_equal(ys[-1], 0.5**T * start.h)
    elman = made("elman", activation="relu")
    assert_close(run((cell, elman[1])), run(elman))


# ---------------------------------------------------------------- bounds and sums


def test_coupled_gates_sum_to_one():
    for cell in (made("greff", variant="cifg"), made("ur_lstm"), made("janet", beta=0.0)):
        trace = run(cell)[2]
        np.testing.assert_allclose(trace["i"] + trace["f"], np.ones((T, B, H)), rtol=1e-6)


def test_the_capped_gate_never_exceeds_its_room_and_the_state_stays_within_one():
    cell, params = made("capped_lstm", forget_bias=1.0)
    eager = {**params, "b": params["b"].at[0].add(3.0)}
    _, _, trace = run((cell, eager), xs=inputs(3.0))
    assert (trace["i"] <= 1.0 - trace["f"]).all()
    assert (trace["i"] == 1.0 - trace["f"]).mean() > 0.5
    assert np.abs(trace["c"]).max() <= 1.0
    assert np.abs(run((cells.lstm(H), eager), xs=inputs(3.0))[2]["c"]).max() > 1.0


def test_janet_lets_in_more_than_it_forgets_and_beta_may_be_traced():
    trace = run(made("janet"))[2]
    assert (trace["i"] > 1.0 - trace["f"] + 1e-4).all()

    def last(beta):
        return run(made("janet", beta=beta))[1][-1]

    members = jax.vmap(last)(jnp.array([0.0, 1.0]))
    assert_close(members, jnp.stack([last(0.0), last(1.0)]))
    assert not np.allclose(members[0], members[1])


def test_refining_moves_a_gate_within_its_band():
    f = jnp.linspace(0.0, 1.0, 21)
    assert_close(refined(f, 0.0), f**2)
    assert_close(refined(f, 0.5), f)
    assert_close(refined(f, 1.0), 1.0 - (1.0 - f) ** 2)
    assert (np.diff(refined(f[1:-1, None], jnp.linspace(0.0, 1.0, 11)), axis=1) > 0).all()


# ---------------------------------------------------------------- forget biases

FORMS = ["2", "chrono(9)", "uniform", "timescale(3, 20)", "timescale(inverse_gamma, 0.56, 1)", "powerlaw"]
FORGETTING = {
    "peephole": {},
    "capped_lstm": {},
    "janet": {},
    "ur_lstm": {},
    "layer_norm_lstm": {},
    **{f"greff {v}": {"variant": v} for v in ABLATIONS if "f" in ABLATIONS[v].gates},
}
NO_INPUT_ROW = ("janet", "greff nig", "greff cifg")


def gates_at_rest(name, spec, **options):
    """The gates that the biases alone make, [H] each."""
    cell = cells.make_cell(name, H, forget_bias=spec, **options)
    params = cell.init(KEY, D)
    trace = step_loop.run(cell, params, jnp.zeros((1, 1, D)))[2]
    return {gate: value[0, 0] for gate, value in trace.items()}, params


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("case", FORGETTING)
def test_every_forget_bias_fills_the_forget_gate(case, trainable):
    """As the LSTM's does, from the same key: the input gate's row as well, where there is one."""
    name = case.split()[0]
    options = FORGETTING[case] | {"forget_bias_trainable": trainable}
    for spec in FORMS:
        gates, params = gates_at_rest(name, spec, **options)
        expected, _ = gates_at_rest("lstm", spec)
        assert_close(gates["forget" if name == "ur_lstm" else "f"], expected["f"])
        if name == "ur_lstm":
            assert_close(gates["r"], 1.0 - expected["f"])
        elif name not in NO_INPUT_ROW and case not in NO_INPUT_ROW:
            room = 1.0 - expected["f"] if name == "capped_lstm" else 1.0
            assert_close(gates["i"], jnp.minimum(expected["i"], room))
        assert ("b_fixed" in params) != trainable


def test_a_forget_bias_means_nothing_without_a_forget_gate():
    one, other = (cells.greff(H, variant="nfg", forget_bias=bias).init(KEY, D) for bias in (0.0, 5.0))
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_the_ur_lstm_starts_with_uniform_gates():
    cell = cells.ur_lstm(400)
    b = cell.init(KEY, D)["b"]
    np.testing.assert_array_equal(b[0], -b[1])
    f = np.sort(jax.nn.sigmoid(b[1]))
    # The largest distance of 400 sorted uniforms from their mean exceeds 0.1 once in 3000 draws.
    assert np.abs(f - np.linspace(0.0, 1.0, 400)).max() < 0.1


# ---------------------------------------------------------------- time scales


def test_multi_timescale_is_the_lstm_with_a_frozen_time_scale():
    cell, params = made("multi_timescale", timescales="timescale(3, 20)")
    lstm, same = made("lstm", forget_bias="timescale(3, 20)", forget_bias_trainable=False)
    jax.tree.map(np.testing.assert_array_equal, params, same)
    jax.tree.map(np.testing.assert_array_equal, run((cell, params)), run((lstm, same)))


def test_the_recipe_of_the_layers():
    def layer(index, layers, **options):
        cell = cells.make_cell("multi_timescale", 6, layer=index, layers=layers, **options)
        params = cell.init(KEY, D)
        return params, step_loop.run(cell, params, jnp.zeros((1, 1, D)))[2]["f"][0, 0]

    params, f = layer(0, 3)
    np.testing.assert_allclose(f, np.exp(-1.0 / np.array([3, 3, 3, 4, 4, 4])), rtol=1e-5)
    assert "b_fixed" in params
    params, f = layer(1, 3)
    drawn = forget_bias.parse(RECIPE[1])
    np.testing.assert_allclose(f, jax.nn.sigmoid(params["b_fixed"][1]), rtol=1e-5)
    assert drawn.opposite and np.array_equal(params["b_fixed"][0], -params["b_fixed"][1])
    jax.tree.map(np.testing.assert_array_equal, layer(0, 1)[0], params)  # one layer: the second's
    params, f = layer(2, 3)
    assert set(params) == {"w_x", "w_h", "b"} and not np.any(params["b"])
    params, f = layer(1, 2, options="timescales=free")
    assert "b_fixed" not in params
    with pytest.raises(UserError, match="gives 2 values for 3 layers"):
        layer(0, 3, timescales="free, timescale(3)")
    with pytest.raises(UserError, match="did you mean 'timescale'"):
        layer(0, 3, timescales="timescal(3)")


# ---------------------------------------------------------------- gates that recur


@pytest.mark.parametrize("wrap", [lambda c: c, lambda c: cells.weight_drop(c, 0.4)], ids=["plain", "dropped"])
def test_the_backward_of_recurring_gates(wrap):
    cell, params = made("greff", variant="fgr")
    cell, start = wrap(cell), state(cell, params)

    def total(params, xs, start, backend):
        out = unroll.unroll(cell, params, xs, start, key=KEY, backend=backend)
        return sum(jnp.sum(jnp.cos(leaf)) for leaf in jax.tree.leaves(out))

    both = [jax.grad(total, (0, 1, 2))(params, inputs(), start, backend) for backend in ("scan", "loop")]
    assert_close(*both, rtol=1e-4, atol=1e-5)
    assert np.any(both[0][0]["w_h_gates"])


def test_recurring_gates_in_bfloat16_and_under_weight_drop():
    cell, params = made("greff", variant="fgr", dtype=jnp.bfloat16)
    assert params["w_h_gates"].shape == (3 * H, 3, H)
    seen, _ = cell.prepare(params, inputs(), None)
    assert seen["w_h_gates"].dtype == jnp.bfloat16
    start = cell.carry(params, B)
    assert {field: leaf.dtype for field, leaf in start._asdict().items()} == {
        "c": jnp.float32,
        "h": jnp.bfloat16,
        "i": jnp.float32,
        "f": jnp.float32,
        "o": jnp.float32,
    }
    dropped, _ = cells.weight_drop(cell, 0.5).prepare(params, inputs(), KEY)
    assert 0 < (dropped["w_h_gates"] == 0).sum() < dropped["w_h_gates"].size
