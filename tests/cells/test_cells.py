"""A table of properties over every registered cell, and the wrappers."""

import functools
import inspect
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import cells
from lstm_jax.cells.gated import gated
from lstm_jax.support.errors import UserError
from lstm_jax.support.pytrees import FIXED
from tests import oracles, step_loop

T, B, D, H = 6, 3, 4, 5
# float32 keeps 6e-8 relative; sums of ~10 terms of order 1 over 6 steps stay well within this.
CLOSE = dict(rtol=2e-5, atol=2e-6)

CASES = {name: (name, {}) for name in cells.CELLS}
CASES |= {
    f"{name} {label}": (name, options)
    for name in cells.CELLS
    for label, options in oracles.facts(name).cases.items()
}
CASES |= {
    "lstm frozen chrono": ("lstm", dict(forget_bias="chrono(9)", forget_bias_trainable=False)),
    "lstm torch": ("lstm", dict(init="torch", forget_bias="timescale(3)")),
    "gru torch": ("gru", dict(init="torch")),
}
each_case = pytest.mark.parametrize("case", CASES)
each_cell = pytest.mark.parametrize("name", cells.CELLS)


@functools.cache
def build(case, **more):
    """The same objects each time, so that what is compiled for them is found again."""
    name, options = CASES[case]
    cell = oracles.small(name, H, **(options | more))
    return cell, cell.init(jax.random.key(1), D)


def facts(case):
    return oracles.facts(CASES[case][0])


def hidden(case):
    return facts(case).hidden or H


def by_oracle(case, params, start, xs, kept=None):
    name, options = CASES[case]
    return oracles.run(name, params, start, xs, kept, oracles.facts(name).options | options)


@functools.cache
def inputs(seed=2, shape=(T, B, D)):
    return jax.random.normal(jax.random.key(seed), shape)


def state(cell, params, seed=3, batch=B):
    """A carry that no zero hides."""
    leaves, tree = jax.tree.flatten(cell.carry(params, batch))
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    drawn = [
        jnp.tanh(jax.random.normal(k, leaf.shape)).astype(leaf.dtype)
        for k, leaf in zip(keys, leaves, strict=True)
    ]
    return oracles.facts(cell.name).valid(jax.tree.unflatten(tree, drawn))


def at(tree, t):
    return jax.tree.map(lambda leaf: leaf[t], tree)


def assert_close(actual, desired):
    def close(a, d):
        np.testing.assert_allclose(np.asarray(a, np.float64), np.asarray(d, np.float64), **CLOSE)

    jax.tree.map(close, actual, desired)


def differ(one, two):
    return not all(jax.tree.leaves(jax.tree.map(np.allclose, one, two)))


# ---------------------------------------------------------------- equations


@each_cell
def test_has_an_oracle(name):
    """Or a test that it reduces to a cell that has one, or a written reason why not: one of the three."""
    having = [table for table in (oracles.ORACLES, oracles.REDUCTIONS, oracles.WAIVERS) if name in table]
    assert len(having) == 1, f"cell {name!r} must be in one table of tests/oracles, and is in {len(having)}"
    if name in oracles.REDUCTIONS:
        file, _, test = oracles.REDUCTIONS[name].partition("::")
        assert f"def {test}(" in (Path(__file__).parent / file).read_text(encoding="utf-8")
    assert len(oracles.WAIVERS.get(name, "a reason in a sentence")) > 20


def test_no_oracle_without_its_cell():
    tables = (oracles.ORACLES, oracles.REDUCTIONS, oracles.WAIVERS, oracles.FACTS)
    assert not {name for table in tables for name in table} - set(cells.CELLS)


@each_case
def test_equals_its_oracle(case):
    if CASES[case][0] not in oracles.ORACLES:
        pytest.skip("it reduces to another cell, or has a waiver")
    cell, params = build(case)
    start = state(cell, params)
    carry, ys, trace = step_loop.run(cell, params, inputs(), start)
    assert_close((carry._asdict(), ys, trace), by_oracle(case, params, start, inputs()))
    check_memory_follows_from_trace(trace)


def check_memory_follows_from_trace(trace):
    """c = f c_before + i g, from the trace alone: what time scales and ablations take its names to mean."""
    if {"i", "f", "g", "c"} <= set(trace):
        i, f, g, c = (np.asarray(trace[name], np.float64) for name in "ifgc")
        np.testing.assert_allclose(c[1:], f[1:] * c[:-1] + i[1:] * g[1:], rtol=1e-4, atol=1e-5)


@each_case
def test_starts_from_its_carry_of_zeros(case):
    """Or of the other numbers that its Facts name."""
    cell, params = build(case)
    carry = cell.carry(params, B)
    for field, leaf in carry._asdict().items():
        inner = facts(case).carry.get(field, lambda units: (units,))(hidden(case))
        assert leaf.shape == (B, *inner), field
        np.testing.assert_array_equal(leaf, np.full_like(leaf, facts(case).start.get(field, 0.0)))
    _, ys, _ = step_loop.run(cell, params, inputs())
    if CASES[case][0] in oracles.ORACLES:
        assert_close(ys, by_oracle(case, params, carry, inputs())[1])


def test_lstm_trace_is_the_gates_and_the_cell_state():
    cell, params = build("lstm")
    _, _, trace = step_loop.run(cell, params, inputs())
    assert set(trace) == {"i", "f", "g", "o", "c"}


@each_case
def test_shapes_and_the_same_key_the_same_weights(case):
    cell, params = build(case)
    units, known = hidden(case), facts(case)
    if known.standard:
        gates = params["w_x"].shape[1]
        assert params["w_x"].shape == (D, gates, units)
        assert params["w_h"].shape == (units, gates, units)
        assert params["b"].shape == (gates, units)
    assert all(params[leaf].shape[0] == D for leaf in known.input_weights)
    assert cell.output_dim == known.output(units)
    assert step_loop.run(cell, params, inputs())[1].shape == (T, B, cell.output_dim)
    again, other = cell.init(jax.random.key(1), D), cell.init(jax.random.key(2), D)
    assert all(np.array_equal(params[leaf], again[leaf]) for leaf in params)
    for leaf in (*known.input_weights, *known.recurrent_weights):
        assert np.array_equal(params[leaf], other[leaf]) == (leaf in known.constants), leaf


# ---------------------------------------------------------------- what backends rely on


@each_case
def test_sequences_of_a_batch_do_not_meet(case):
    cell, params = build(case)
    xs, start = inputs(), state(cell, params)
    other = xs.at[:, 0].add(1.0)
    changed = step_loop.run(cell, params, other, jax.tree.map(lambda s: s.at[0].add(0.5), start))[1]
    ys = step_loop.run(cell, params, xs, start)[1]
    np.testing.assert_array_equal(changed[:, 1:], ys[:, 1:])
    assert (np.abs(changed[:, 0] - ys[:, 0]) > 1e-6).any()
    alone = step_loop.run(cell, params, xs[:, :1], jax.tree.map(lambda s: s[:1], start))[1]
    np.testing.assert_allclose(alone, ys[:, :1], **CLOSE)


@each_case
def test_later_inputs_do_not_reach_earlier_outputs(case):
    cell, params = build(case)
    xs = inputs()
    ys = step_loop.run(cell, params, xs)[1]
    changed = step_loop.run(cell, params, xs.at[3].add(1.0))[1]
    np.testing.assert_array_equal(changed[:3], ys[:3])
    assert (changed[3] != ys[3]).any()


@each_case
def test_recur_is_linear_in_the_carry_and_in_the_params(case):
    cell, params = build(case)
    if not cell.linear:
        pytest.skip("the cell says that it is not linear")
    seen, _ = cell.prepare(params, inputs(), None)
    other = jax.tree.map(lambda leaf: jnp.cos(7.0 * leaf) + leaf, seen)
    s1, s2 = state(cell, params, 3), state(cell, params, 4)

    def mix(one, two):
        return jax.tree.map(lambda a, b: 2.0 * a - 3.0 * b, one, two)

    assert_close(cell.recur(seen, mix(s1, s2)), mix(cell.recur(seen, s1), cell.recur(seen, s2)))
    if facts(case).single:
        assert_close(cell.recur(mix(seen, other), s1), mix(cell.recur(seen, s1), cell.recur(other, s1)))
    if facts(case).standard:
        assert cell.recur(seen, s1).shape == (B, params["w_x"].shape[1], hidden(case))
    if facts(case).recurrent_weights:
        assert differ(cell.recur(seen, s1), cell.recur(other, s1))
        assert differ(cell.recur(seen, s1), cell.recur(seen, s2))


@each_case
def test_update_is_pointwise(case):
    """A unit of z or of r reaches that unit of that sequence, and no other."""
    cell, params = build(case)
    if not cell.pointwise:
        pytest.skip("the cell says that its update is more than pointwise")
    seen, zs = cell.prepare(params, inputs(), None)
    start, z = state(cell, params), at(zs, 0)
    r = cell.recur(seen, start)
    before = cell.update(seen, start, z, r)

    def bump(leaf):
        return leaf.at[1, ..., 2].add(3.0)  # far enough for a rectified unit to wake up

    through_z = cell.update(seen, start, jax.tree.map(bump, z), r)
    through_r = cell.update(seen, start, z, jax.tree.map(bump, r))
    through_carry = cell.update(seen, jax.tree.map(bump, start), z, r)  # Elman's reads no carry
    assert through_z[1][1, 2] != before[1][1, 2]
    if facts(case).recurrent_weights:
        assert through_r[1][1, 2] != before[1][1, 2]
    for after in (through_z, through_r, through_carry):
        for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(before), strict=True):
            same = np.ones((B, hidden(case)), bool)
            same[1, 2] = False
            np.testing.assert_array_equal(np.asarray(a)[same], np.asarray(b)[same])


MIXING = ("dot_", "conv_", "reduce_", "arg", "cum", "sort", "gather", "scatter", "random", "while", "scan")
MIXING += ("concatenate",)


def primitives(jaxpr):
    """Names of the primitives of a jaxpr, those inside nested ones too."""
    names = []
    for eqn in jaxpr.eqns:
        names.append(eqn.primitive.name)
        for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda v: hasattr(v, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                names += primitives(inner)
    return names


def mixing_primitives(cell, params, xs, key=None):
    seen, zs = cell.prepare(params, xs, key)
    start = cell.carry(params, xs.shape[1])
    jaxpr = jax.make_jaxpr(cell.update)(seen, start, at(zs, 0), cell.recur(seen, start)).jaxpr
    assert jaxpr.eqns
    return [name for name in primitives(jaxpr) if name.startswith(MIXING)]


@each_case
def test_update_traces_to_elementwise_arithmetic(case):
    """A fused kernel will trace it: nothing that moves values between units may occur, even times zero.

    And a cell that says that its update is more than pointwise has something of the kind.
    """
    cell, params = build(case)
    assert bool(mixing_primitives(cell, params, inputs())) != cell.pointwise


def test_the_lstm_update_reads_no_parameter():
    """So that a backward pass need not accumulate gradients of parameters step by step."""
    cell, params = build("lstm")
    seen, zs = cell.prepare(params, inputs(), None)
    start = cell.carry(params, B)
    r = cell.recur(seen, start)
    assert_close(cell.update({}, start, zs[0], r)[1], cell.update(seen, start, zs[0], r)[1])
    assert set(seen) == {"w_h"}


@each_case
def test_one_matmul_projects_the_whole_window(case):
    """Or as many as its Facts say; none of them is inside a loop over time."""
    cell, params = build(case)
    names = primitives(jax.make_jaxpr(lambda p, xs: cell.prepare(p, xs, None))(params, inputs()).jaxpr)
    assert names.count("dot_general") == facts(case).matmuls
    assert not {"scan", "while"} & set(names)


@each_case
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtypes(case, dtype):
    cell, params = build(case, dtype=dtype)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))

    def one_step(params, xs):
        seen, zs = cell.prepare(params, xs, None)
        start = cell.carry(params, B)
        r = cell.recur(seen, start)
        return seen, zs, start, r, *cell.update(seen, start, at(zs, 0), r)

    seen, zs, start, r, carry, y, trace = jax.eval_shape(one_step, params, inputs())
    assert all(seen[leaf].dtype == dtype for leaf in facts(case).recurrent_weights)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(zs))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(r))
    assert y.dtype == dtype
    for where in (start, carry):  # a scan needs the carry to keep its dtypes
        for field, leaf in where._asdict().items():
            assert leaf.dtype == (dtype if field == "h" else jnp.float32)
    assert all(leaf.dtype == jnp.float32 for leaf in trace.values())
    total = jax.grad(lambda p: step_loop.run(cell, p, inputs())[1].astype(jnp.float32).sum())
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jax.eval_shape(total, params)))


@each_case
def test_bfloat16_stays_near_float32(case):
    cell, params = build(case)
    low, _ = build(case, dtype=jnp.bfloat16)
    ys, near = step_loop.run(cell, params, inputs())[1], step_loop.run(low, params, inputs())[1]
    # bfloat16 keeps 2^-8 = 0.4 % relative; some ten roundings meet in an output, of size 1 for most cells.
    np.testing.assert_allclose(near.astype(jnp.float32), ys, atol=0.04 * max(1.0, np.abs(ys).max()))
    assert not np.array_equal(near.astype(jnp.float32), ys)


@each_case
def test_bfloat16_products_accumulate_in_float32(case):
    """The products equal float32 matmuls of the rounded factors, which a bfloat16 sum would not."""
    if not facts(case).single:
        pytest.skip("a product that is a factor of another is rounded")
    cell, params = build(case, dtype=jnp.bfloat16)
    exact, _ = build(case)
    seen, zs = cell.prepare(params, inputs(), None)

    def rounded(leaf):
        return leaf.astype(jnp.bfloat16).astype(jnp.float32)

    weights = {*facts(case).input_weights, *facts(case).recurrent_weights}
    weights |= {leaf for leaf in params if leaf.startswith("w_h_")}  # what only some cases of a cell have
    fine = {**params, **{leaf: rounded(params[leaf]) for leaf in weights}}
    fine_seen, fine_zs = exact.prepare(fine, rounded(inputs()), None)
    assert_close(zs, fine_zs)
    if not cell.linear:
        pytest.skip("what follows holds for a single product")
    start = state(cell, params)
    assert_close(cell.recur(seen, start), exact.recur(fine_seen, jax.tree.map(rounded, start)))


@each_case
def test_without_dropout_a_key_changes_nothing(case):
    cell, params = build(case)
    keyed = step_loop.run(cell, params, inputs(), key=jax.random.key(5))[1]
    np.testing.assert_array_equal(step_loop.run(cell, params, inputs())[1], keyed)


@each_case
def test_every_trainable_leaf_has_a_gradient_and_extreme_sums_stay_finite(case):
    cell, params = build(case)

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1))
    def total(p, xs):
        return jnp.sum(step_loop.run(cell, p, xs)[1] ** 2)

    for leaf, grad in total(params, inputs())[1][0].items():
        assert np.any(grad) != leaf.endswith(FIXED), leaf
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(total(params, 1e4 * inputs())))


@pytest.mark.parametrize("name", [n for n in cells.CELLS if n not in cells.NO_FORGET_BIAS])
@pytest.mark.parametrize("trainable", [True, False])
def test_vmaps_over_the_forget_bias(name, trainable):
    def outputs(forget_bias, key, xs):
        cell = oracles.small(name, H, forget_bias=forget_bias, forget_bias_trainable=trainable)
        return step_loop.run(cell, cell.init(key, D), xs)[1]

    values = (0.0, 3.0)

    @jax.jit
    def together_and_alone(together, key, xs):
        members = jax.vmap(outputs, (0, None, None))(together, key, xs)
        return members, jnp.stack([outputs(value, key, xs) for value in values])

    key = jax.random.key(1, impl="unsafe_rbg")  # compiles in a fraction of the time
    members, alone = together_and_alone(jnp.array(values), key, inputs())
    np.testing.assert_allclose(members, alone, **CLOSE)
    assert not np.allclose(*members)


# ---------------------------------------------------------------- the table and its errors


def test_unknown_names_are_refused_with_a_suggestion():
    with pytest.raises(UserError, match=r"unknown cell 'lstmm': did you mean 'lstm'\?.*gru"):
        cells.make_cell("lstmm", H)
    with pytest.raises(UserError, match=r"option of cell 'lstm' 'forget_bas': did you mean 'forget_bias'"):
        cells.make_cell("lstm", H, forget_bas=1.0)
    with pytest.raises(UserError, match="unknown option of cell 'gru' 'peepholes'"):
        cells.make_cell("gru", H, peepholes=True)
    with pytest.raises(UserError, match="unknown init 'lecum': did you mean 'lecun'"):
        cells.make_cell("elman", H, init="lecum")
    with pytest.raises(UserError, match="layer 2 is not one of 2 layers"):
        cells.make_cell("lstm", H, layer=2, layers=2)


def test_options_as_text_are_keyword_arguments(monkeypatch):
    seen = {}

    def factory(
        hidden,
        *,
        slots: int = 1,
        rate: float | jax.Array = 0.5,
        rms: bool = False,
        kind: str = "a",
        forget_bias=1.0,
    ):
        seen.update(hidden=hidden, slots=slots, rate=rate, rms=rms, kind=kind, forget_bias=forget_bias)
        return cells.lstm(hidden)

    monkeypatch.setitem(cells.CELLS, "stand-in", factory)
    text = " slots=3, rate=1,rms=True , kind=timescale(3, 4)"
    cells.make_cell("stand-in", H, options=text, forget_bias="2")
    assert seen == dict(hidden=H, slots=3, rate=1, rms=True, kind="timescale(3, 4)", forget_bias="2")
    cells.make_cell("stand-in", H, options="", forget_bias="")
    assert seen == dict(hidden=H, slots=1, rate=0.5, rms=False, kind="a", forget_bias=1.0)
    bad = {
        "slot=3": r"option of cell 'stand-in' 'slot': did you mean 'slots'\?",
        "slots": "'slots' is not name=value",
        "slots=": "'slots=' is not name=value",
        "slots=1,,rms=true": "'' is not name=value",
        "slots=1,slots=2": "gives 'slots' twice",
        "slots=1.5": "option 'slots' of cell 'stand-in' must be a whole number, not 1.5",
        "slots=true": "must be a whole number, not True",
        "rate=high": "must be a number, not 'high'",
        "rms=1": "must be true or false, not 1",
        "kind=7": "must be a word, not 7",
        "hidden=7": "'hidden' has a field of its own",
        "forget_bias=3": "'forget_bias' has a field of its own",
    }
    for text, message in bad.items():
        with pytest.raises(UserError, match=message):
            cells.make_cell("stand-in", H, options=text, forget_bias="2")
    with pytest.raises(UserError, match="is not text"):
        cells.make_cell("lstm", H, options={"slots": 1})


@pytest.mark.parametrize("hidden", [0, -1, 2.5, "8"])
def test_hidden_is_a_positive_whole_number(hidden):
    with pytest.raises(UserError, match="hidden must be a positive whole number"):
        cells.lstm(hidden)


@each_cell
def test_forget_bias_fields_are_dropped_where_declared_and_only_there(name):
    """The config section `model.cell`, with the fields of configs/base.py, builds every cell."""
    takes = "forget_bias" in inspect.signature(cells.CELLS[name]).parameters
    assert takes != (name in cells.NO_FORGET_BIAS)
    section = dict(forget_bias="0,2", forget_bias_trainable=False, init="lecun", options="")
    cell = oracles.small(name, H, **{"dtype": "float32", "layer": 1, "layers": 2, **section})
    params = cell.init(jax.random.key(0), D)
    if takes:
        assert "b_fixed" in params
    else:
        without = {field: value for field, value in section.items() if not field.startswith("forget_bias")}
        plain = oracles.small(name, H, layer=1, layers=2, **without).init(jax.random.key(0), D)
        jax.tree.map(np.testing.assert_array_equal, params, plain)
    assert cell.name == name and cell.wrappers == ()


# ---------------------------------------------------------------- initializers


@pytest.mark.parametrize("name", ["lstm", "gru", "elman"])
def test_lecun_weights(name):
    options = {} if name in cells.NO_FORGET_BIAS else {"forget_bias": 0.0}
    params = cells.make_cell(name, 64, **options).init(jax.random.key(0), 100)
    for gate in range(params["w_h"].shape[1]):
        w = params["w_h"][:, gate]
        np.testing.assert_allclose(w @ w.T, np.eye(64), atol=1e-5)
    # 6400 or more draws: the standard error of a standard deviation is 1/sqrt(2n), under 0.9 %.
    np.testing.assert_allclose(np.std(params["w_x"]), 100**-0.5, rtol=0.035)
    assert not np.any(params["b"])


def test_lecun_gates_differ():
    w = cells.lstm(H).init(jax.random.key(0), D)["w_h"]
    assert not any(np.allclose(w[:, 0], w[:, gate]) for gate in (1, 2, 3))


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_torch_weights(name):
    options = {} if name in cells.NO_FORGET_BIAS else {"forget_bias": 0.0}
    params = cells.make_cell(name, 256, init="torch", **options).init(jax.random.key(0), 30)
    bound = 256**-0.5
    for leaf in ("w_x", "w_h"):
        assert np.abs(params[leaf]).max() <= bound
        np.testing.assert_allclose(np.std(params[leaf]), bound / 3**0.5, rtol=0.03)
    # A sum of two uniforms: twice the variance, and values beyond the bound of one.
    merged = np.asarray(params["b"] if name == "lstm" else params["b"][:2])
    np.testing.assert_allclose(np.std(merged), bound * (2 / 3) ** 0.5, rtol=0.12)
    assert bound < np.abs(merged).max() <= 2 * bound
    if name == "gru":  # n's two biases are apart, one draw each
        for single in (params["b"][2], params["b_h"]):
            assert np.abs(single).max() <= bound
            np.testing.assert_allclose(np.std(single), bound / 3**0.5, rtol=0.12)
        assert not np.array_equal(params["b"][2], params["b_h"])


def test_uniform_weights_and_biases_with_the_forget_bias_on_top():
    params = cells.lstm(128, init="uniform(0.1)", forget_bias=2.0).init(jax.random.key(0), 30)
    for leaf in (params["w_x"], params["w_h"], params["b"][0], params["b"][1] - 2.0, params["b"][2:]):
        assert 0.09 < np.abs(leaf).max() <= 0.1 + 1e-6
        np.testing.assert_allclose(np.std(leaf), 0.1 / 3**0.5, rtol=0.15)


BAD_INITS = ["uniform", "uniform(x)", "uniform(1, 2)", "uniform(-1)", "lecun(2)", "", "torch(", 3]


@pytest.mark.parametrize("init", BAD_INITS)
def test_bad_initializers_are_refused(init):
    with pytest.raises(UserError, match="init"):
        cells.lstm(H, init=init)


# ---------------------------------------------------------------- wrappers


@each_case
def test_rate_zero_is_the_cell_itself(case):
    cell, _ = build(case)
    assert cells.weight_drop(cell, 0.0) is cell
    assert cells.zoneout(cell, 0.0, 0.0) is cell


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_rates_outside_are_refused(rate):
    cell, _ = build("lstm")
    for wrap in (cells.weight_drop, cells.zoneout, lambda c, r: cells.zoneout(c, 0.0, r)):
        with pytest.raises(UserError, match=r"rate .* is outside"):
            wrap(cell, rate)
    with pytest.raises(UserError, match=r"outside \[0, 1\)"):
        cells.weight_drop(cell, 1.0)


@each_case
def test_weight_drop_masks_the_recurrent_weight_only(case):
    cell, params = build(case)
    leaves = facts(case).recurrent_weights
    if not leaves:
        pytest.skip("the cell has no recurrent weight")
    dropped = cells.weight_drop(cell, 0.25, leaves)
    assert dropped.wrappers == ("weight_drop",)
    seen, zs = dropped.prepare(params, inputs(), jax.random.key(7))
    plain, plain_zs = cell.prepare(params, inputs(), None)
    for leaf in leaves:
        gone = np.asarray(seen[leaf]) == 0
        assert 0 < gone.sum() < gone.size
        np.testing.assert_allclose(seen[leaf], np.where(gone, 0, params[leaf] / 0.75), rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, zs, plain_zs)
    for leaf in set(seen) - set(leaves):
        np.testing.assert_array_equal(seen[leaf], plain[leaf])
    other, _ = dropped.prepare(params, inputs(), jax.random.key(8))
    again, _ = dropped.prepare(params, inputs(), jax.random.key(7))
    for leaf in leaves:
        assert not np.array_equal(other[leaf], seen[leaf])
        np.testing.assert_array_equal(again[leaf], seen[leaf])


@each_case
def test_weight_drop_without_a_key_is_the_cell(case):
    cell, params = build(case)
    if not facts(case).recurrent_weights:
        pytest.skip("the cell has no recurrent weight")
    dropped = step_loop.run(cells.weight_drop(cell, 0.5, facts(case).recurrent_weights), params, inputs())
    jax.tree.map(np.testing.assert_array_equal, dropped, step_loop.run(cell, params, inputs()))


def test_weight_drop_rate_and_gradient():
    cell = cells.weight_drop(cells.lstm(32), 0.3)
    params = cell.init(jax.random.key(0), D)
    seen, _ = cell.prepare(params, inputs(), jax.random.key(1))
    gone = np.asarray(seen["w_h"]) == 0
    assert abs(gone.mean() - 0.3) < 4 * (0.3 * 0.7 / gone.size) ** 0.5
    total = jax.jit(jax.grad(lambda p: step_loop.run(cell, p, inputs(), key=jax.random.key(1))[1].sum()))
    grad = total(params)
    assert not np.any(grad["w_h"][gone])
    assert (np.asarray(grad["w_h"])[~gone] != 0).mean() > 0.99


def test_weight_drop_refuses_a_cell_without_the_leaf():
    cell = cells.weight_drop(build("lstm")[0], 0.5, leaves=("w_r",))
    with pytest.raises(UserError, match="no parameter 'w_r'; it has"):
        cell.prepare(build("lstm")[1], inputs(), None)


ZONED = [case for case, (name, _) in CASES.items() if name == "lstm"]


@pytest.mark.parametrize("case", ZONED)
@pytest.mark.parametrize("rates", [(0.5, 0.0), (0.0, 0.25), (0.5, 0.25)])
@pytest.mark.parametrize("training", [True, False])
def test_zoneout_equals_its_oracle(case, rates, training):
    cell, params = build(case)
    zoned = cells.zoneout(cell, *rates)
    assert zoned.wrappers == ("zoneout",)
    key = jax.random.key(9) if training else None
    start = state(cell, params)
    carry, ys, trace = step_loop.run(zoned, params, inputs(), start, key)
    used = {field: rate for field, rate in zip("ch", rates, strict=True) if rate}
    if training:
        kept = zoned.prepare(params, inputs(), key)[1][1]
        assert set(kept) == set(used)
        assert all(mask.shape == (T, B, H) for mask in kept.values())
    else:
        kept = {field: np.full((T, B, H), rate) for field, rate in used.items()}
    assert_close((carry._asdict(), ys, trace), by_oracle(case, params, start, inputs(), kept))
    check_memory_follows_from_trace(trace)


@pytest.mark.parametrize("name", ["gru", "elman"])
def test_zoneout_of_h_equals_its_oracle(name):
    cell, params = build(name)
    zoned, start = cells.zoneout(cell, 0.0, 0.4), state(cell, params)
    carry, ys, _ = step_loop.run(zoned, params, inputs(), start, jax.random.key(9))
    kept = zoned.prepare(params, inputs(), jax.random.key(9))[1][1]
    expected = oracles.run(name, params, start, inputs(), kept)
    assert_close((carry._asdict(), ys), expected[:2])


def test_zoneout_masks_are_new_for_each_step_sequence_and_unit():
    cell = cells.zoneout(cells.lstm(32), 0.5, 0.2)
    params = cell.init(jax.random.key(0), D)
    keep = cell.prepare(params, inputs(shape=(8, 8, D)), jax.random.key(1))[1][1]
    for field, rate in (("c", 0.5), ("h", 0.2)):
        mask = np.asarray(keep[field])
        error = (rate * (1 - rate) / mask.size) ** 0.5
        assert abs(mask.mean() - rate) < 4 * error
        for axis in range(3):
            moved = np.roll(mask, 1, axis)
            agree = (mask == moved).mean()
            assert abs(agree - (rate**2 + (1 - rate) ** 2)) < 0.06
    assert abs((keep["c"] & keep["h"]).mean() - 0.1) < 0.04  # c and h are drawn apart


def test_zoneout_at_rate_one_never_changes_the_state():
    cell, params = build("lstm")
    start = state(cell, params)
    for key in (None, jax.random.key(0)):
        carry, ys, _ = step_loop.run(cells.zoneout(cell, 1.0, 1.0), params, inputs(), start, key)
        jax.tree.map(np.testing.assert_array_equal, carry, start)
        np.testing.assert_array_equal(ys[-1], start.h)


@pytest.mark.parametrize("training", [True, False])
def test_zoneout_keeps_bfloat16_and_is_pointwise(training):
    cell = cells.zoneout(build("lstm", dtype=jnp.bfloat16)[0], 0.3, 0.3)
    params = build("lstm")[1]
    seen, zs = cell.prepare(params, inputs(), jax.random.key(0) if training else None)
    start = state(cell, params)
    r = cell.recur(seen, start)
    carry, y, _ = cell.update(seen, start, at(zs, 0), r)
    assert (carry.c.dtype, carry.h.dtype, y.dtype) == (jnp.float32, jnp.bfloat16, jnp.bfloat16)
    assert not mixing_primitives(cell, params, inputs(), jax.random.key(0) if training else None)


def test_wrappers_nest_and_draw_apart():
    cell, params = build("lstm")
    both = cells.zoneout(cells.weight_drop(cell, 0.4), 0.5, 0.5)
    assert both.wrappers == ("weight_drop", "zoneout")
    key = jax.random.key(3)
    seen, (_, keep) = both.prepare(params, inputs(), key)
    np.testing.assert_array_equal(
        seen["w_h"], cells.weight_drop(cell, 0.4).prepare(params, inputs(), key)[0]["w_h"]
    )
    np.testing.assert_array_equal(
        keep["c"], cells.zoneout(cell, 0.5, 0.5).prepare(params, inputs(), key)[1][1]["c"]
    )


def test_rates_may_be_traced():
    cell, params = build("lstm")

    def last(rate):
        zoned = cells.zoneout(cells.weight_drop(cell, rate), rate, rate)
        return step_loop.run(zoned, params, inputs(), key=jax.random.key(1))[1][-1]

    members = jax.jit(jax.vmap(last))(jnp.array([0.0, 0.5]))
    np.testing.assert_allclose(members[0], step_loop.run(cell, params, inputs())[1][-1], **CLOSE)
    np.testing.assert_allclose(members[1], last(0.5), **CLOSE)


class Memory(NamedTuple):
    h: jax.Array


def test_zoneout_refuses_what_it_cannot_zone_out():
    cell, params = build("gru")
    with pytest.raises(UserError, match="cell 'gru' has no state 'c', only h; set zoneout_cell to 0"):
        cells.zoneout(cell, 0.5).prepare(params, inputs(), None)

    def update(params, carry, z, r):
        h = jnp.tanh(z[:, 0] + r[:, 0])
        return Memory(h), 2.0 * h, {}

    doubled = gated("doubled", H, 1, Memory, update)
    params = doubled.init(jax.random.key(0), D)
    with pytest.raises(UserError, match="output of cell 'doubled' is not h"):
        step_loop.run(cells.zoneout(doubled, 0.0, 0.5), params, inputs())
    cell, params = build("slstm")
    (z, r), start = (jnp.zeros((B, 4, H)),) * 2, state(cell, params)
    zoned = cells.zoneout(cell, hidden_rate=0.5)
    after, _, trace = zoned.update(params, start, (z, {}), r)
    np.testing.assert_allclose(trace["c"], after.c / after.n)  # h may: the memory stays what it is
    with pytest.raises(
        UserError, match="memory of cell 'slstm' is not its c by itself; set zoneout_cell to 0"
    ):
        step_loop.run(cells.zoneout(cell, 0.5), params, inputs())
