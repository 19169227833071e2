"""Backends of the unroll against the Python loop, over every cell and wrapper, and what they promise."""

import functools
import re
from types import SimpleNamespace
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn
from jax.test_util import check_grads

from lstm_jax import cells, unroll
from lstm_jax.cells.base import Cell
from lstm_jax.support.errors import UserError
from lstm_jax.support.pytrees import FIXED
from lstm_jax.unroll import cudnn, fused, properties
from lstm_jax.unroll.properties import Setting, run, values_and_gradients, weigh
from tests import oracles, step_loop

T, B, D, H = 5, 3, 2, 4
KEY = jax.random.key(11)
LENGTHS = jnp.array([T, 0, 3])
RESETS = jnp.zeros((T, B), bool).at[0, 0].set(True).at[2].set(True).at[4, 0].set(True)
# float32 keeps 6e-8 relative; gradients of order 1 are sums of ~100 terms over 5 steps, reordered.
CLOSE = dict(rtol=2e-5, atol=5e-6)


class OddCarry(NamedTuple):
    """h [B, H], and count [B], an integer."""

    h: jax.Array
    count: jax.Array


def odd(scale=0.7) -> Cell:
    """A cell of everything that the backward must bear and no usual cell has at once.

    A learned initial state, integers in the carry, a mask in z, a factor [B, H] in the params, params and a
    closed-over array that `update` reads, and a recurrent product without a gate axis.
    """
    scale = jnp.asarray(scale)

    def init(key, input_dim):
        shapes = dict(w_x=(input_dim, H), w_h=(H, H), start=(H,), peephole=(H,))
        keys = jax.random.split(key, len(shapes))
        return {
            name: jax.random.normal(k, shape) for k, (name, shape) in zip(keys, shapes.items(), strict=True)
        }

    def carry(params, batch):
        return OddCarry(jnp.broadcast_to(jnp.tanh(params["start"]), (batch, H)), jnp.zeros(batch, jnp.int32))

    def prepare(params, xs, key):
        masks, factor = jnp.ones(xs.shape[:2], bool), jnp.ones((xs.shape[1], H))
        if key is not None:
            masks = jax.random.bernoulli(key, 0.6, xs.shape[:2])
            factor = jax.random.uniform(key, factor.shape)
        return {**params, "factor": factor}, {"x": xs @ params["w_x"], "mask": masks}

    def recur(params, carry):
        return (carry.h * params["factor"]) @ params["w_h"]

    def update(params, carry, z, r):
        gate = jax.nn.sigmoid(z["x"] + params["peephole"] * carry.h)
        h = jnp.where(z["mask"][:, None], gate * jnp.tanh(r) * scale, carry.h)
        after = OddCarry(h, carry.count + 1)
        return after, h * 2.0, {"gate": gate, "count": jnp.broadcast_to(after.count[:, None], h.shape)}

    return Cell("odd", H, init, carry, prepare, recur, update)


WRAPPERS = {
    "plain": lambda cell: cell,
    "weight_drop": lambda cell: cells.weight_drop(cell, 0.4, oracles.facts(cell.name).recurrent_weights),
    "zoneout_hidden": lambda cell: cells.zoneout(cell, hidden_rate=0.3),
    "zoneout_cell": lambda cell: cells.zoneout(cell, cell_rate=0.3),
}
CASES = {
    f"{name}-{wrapper}": (lambda name=name, wrap=wrap: wrap(oracles.small(name, H)))
    for name in cells.CELLS
    for wrapper, wrap in WRAPPERS.items()
    if wrapper != "weight_drop" or oracles.facts(name).recurrent_weights
}
CASES |= {
    "lstm-frozen": lambda: cells.lstm(H, forget_bias="chrono(9)", forget_bias_trainable=False),
    "odd": odd,
    "odd-autodiff": lambda: odd()._replace(linear=False),
}
OPTIONS = {
    "alone": {},
    "lengths and resets": dict(lengths=LENGTHS, resets=RESETS),
}
each_case = pytest.mark.parametrize("case", CASES)
each_cell = pytest.mark.parametrize("name", [*cells.CELLS, "odd"])


@functools.cache
def make(name):
    """One object for a name, so that what is compiled for it is found again."""
    return odd() if name == "odd" else oracles.small(name, H)


@functools.lru_cache(16)
def setup(cell, steps=T, batch=B):
    """params, xs, and a carry that no zero hides."""
    params = cell.init(jax.random.key(1), D)
    xs = jnp.asarray(np.random.default_rng(2).standard_normal((steps, batch, D)), jnp.float32)
    return params, xs, oracles.facts(cell.name).valid(noise(cell.carry(params, batch), 3))


def noise(tree, seed):
    """Numbers of order 1 in place of the float leaves; the others as they are."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: (
            jnp.asarray(rng.standard_normal(leaf.shape), leaf.dtype)
            if jnp.issubdtype(leaf.dtype, jnp.floating)
            else leaf
        ),
        tree,
    )


def assert_close(actual, desired, **tolerance):
    def close(a, d):
        if a.dtype == jax.dtypes.float0:
            assert d.dtype == jax.dtypes.float0
            return
        np.testing.assert_allclose(
            np.asarray(a, np.float64), np.asarray(d, np.float64), **(CLOSE | tolerance)
        )

    jax.tree.map(close, actual, desired)


@functools.lru_cache(2)
def applies(case, xs_key=KEY):
    cell = CASES[case]()
    given = setup(cell)
    try:
        jax.eval_shape(lambda: unroll.unroll(cell, *given, key=xs_key))
    except UserError as error:
        assert "zoneout: " in str(error)  # of c: a cell without it, or whose memory is more; of h: y is not h
        return None
    return cell


# --- values and gradients ---------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS)
@each_case
def test_scan_equals_loop(case, options):
    cell = applies(case)
    if cell is None:
        with pytest.raises(UserError, match=r"zoneout: .* (no state|is not h|is not its c)"):
            unroll.unroll(CASES[case](), *setup(CASES[case]()), key=KEY)
        return
    scan = values_and_gradients(cell, *setup(cell), key=KEY, **OPTIONS[options])
    # The loop is by far the larger program: one for both, "alone" being the whole length without resets.
    whole = dict(lengths=jnp.full(B, T), resets=jnp.zeros((T, B), bool))
    assert_close(scan, by_loop(cell)(*setup(cell), **(whole | OPTIONS[options])))


@functools.lru_cache(2)
def by_loop(cell):
    return jax.jit(functools.partial(values_and_gradients, cell, backend="loop", key=KEY))


@each_cell
def test_loop_equals_the_tests_own_loop(name):
    cell = make(name)
    params, xs, carry = setup(cell)
    out = run(cell, params, xs, carry, backend="loop")
    assert_close(tuple(out), step_loop.run(cell, params, xs, carry))


@pytest.mark.parametrize("used", ["carry", "ys", "trace"])
@pytest.mark.parametrize("name", ["lstm", "odd"])
def test_gradients_where_one_output_is_used(name, used):
    cell = make(name)

    def gradients(backend):
        def loss(params, xs, carry):
            return weigh(getattr(unroll.unroll(cell, params, xs, carry, backend=backend), used))

        return jax.jit(jax.grad(loss, (0, 1, 2), allow_int=True))(*setup(cell))

    assert_close(gradients("scan"), gradients("loop"))


@pytest.mark.parametrize("how", [dict(unroll=3), dict(chunk=3), dict(chunk=T), dict(chunk=2, unroll=2)])
@pytest.mark.parametrize("name", ["lstm", "odd"])
def test_unroll_and_chunk_change_nothing(name, how):
    cell = make(name)
    options = dict(OPTIONS["lengths and resets"], key=KEY)
    expected = values_and_gradients(cell, *setup(cell), **options)
    assert_close(values_and_gradients(cell, *setup(cell), **options, **how), expected)


@pytest.mark.parametrize("case", [c for c in CASES if c.endswith("-plain")] + ["odd"])
def test_gradients_by_finite_differences(case):
    with jax.enable_x64(True):
        cell = CASES[case]()
        params, xs, carry = jax.tree.map(
            lambda a: a.astype(np.float64) if a.dtype == np.float32 else a, setup(cell, steps=4)
        )
        kind = [leaf.dtype for leaf in jax.tree.leaves(cell.carry(params, B))]
        leaves, treedef = jax.tree.flatten(carry)
        if case != "odd":
            cell = oracles.small(cell.name, H, dtype=jnp.float64)
        options = dict(resets=RESETS[:4], lengths=jnp.array([4, 1, 3]))
        # What is frozen has no gradient by intention, and a difference all the same: it stays as it is.
        frozen = {name: leaf for name, leaf in params.items() if name.endswith(FIXED)}
        params = {name: leaf for name, leaf in params.items() if name not in frozen}

        @jax.jit
        def loss(params, xs, smooth):
            params = params | frozen
            rest = iter(smooth)
            full = [
                next(rest) if jnp.issubdtype(k, jnp.floating) else a
                for k, a in zip(kind, leaves, strict=True)
            ]
            return weigh(unroll.unroll(cell, params, xs, jax.tree.unflatten(treedef, full), **options))

        smooth = [a for a in leaves if jnp.issubdtype(a.dtype, jnp.floating)]
        # Central differences with eps 1e-5 err by ~1e-10 of the third derivative, and rounding by 1e-11.
        check_grads(loss, (params, xs, smooth), order=1, modes=["rev"], eps=1e-5, rtol=1e-6, atol=1e-6)


def test_gradient_of_the_gradient():
    cell = cells.lstm(H)
    params, xs, carry = setup(cell)

    def slope(params, backend):
        grads = jax.grad(lambda p: weigh(unroll.unroll(cell, p, xs, carry, backend=backend)))(params)
        return weigh(grads, 8)

    second = {
        backend: jax.jit(jax.grad(lambda p, b=backend: slope(p, b)))(params) for backend in ("scan", "loop")
    }
    assert_close(second["scan"], second["loop"], rtol=1e-4, atol=1e-4)


# --- what an unroll means ---------------------------------------------------------------------------


@each_cell
def test_windows_with_the_carry_equal_the_whole(name):
    cell = make(name)
    assert properties.windows_equal_the_whole(cell, Setting(*setup(cell))) is None


@each_cell
def test_causal_and_independent_over_the_batch(name):
    cell = make(name)
    given = Setting(*setup(cell))
    changed = properties.changed(cell, given)
    assert properties.causal(cell, given, changed) is None
    assert properties.sequences_do_not_meet(cell, given, changed) is None


@pytest.mark.parametrize("backend", ["scan", "loop"])
@each_cell
def test_lengths_equal_each_sequence_alone(name, backend):
    cell = make(name)
    assert properties.lengths_equal_each_alone(cell, Setting(*setup(cell)), backend) is None


@pytest.mark.parametrize("backend", ["scan", "loop"])
@each_cell
def test_resets_equal_separate_runs(name, backend):
    """In values and gradients, those with respect to a learned initial carry among them."""
    cell = make(name)
    params, xs, carry = setup(cell)
    resets = jnp.zeros((T, B), bool).at[3].set(True)

    def together(params, xs, carry):
        out = unroll.unroll(cell, params, xs, carry, resets=resets, backend=backend)
        return weigh((out.carry, out.ys)), out.ys

    ran = jax.jit(jax.grad(together, (0, 1, 2), has_aux=True, allow_int=True))(params, xs, carry)
    assert_close(ran, apart(name))
    if name == "odd":
        assert np.any(np.asarray(ran[0][0]["start"]))


@functools.lru_cache(2)
def apart(name):
    """Gradients and values of two runs, of three steps and of the rest; for both backends."""
    cell = make(name)

    def loss(params, xs, carry):
        first = unroll.unroll(cell, params, xs[:3], carry)
        second = unroll.unroll(cell, params, xs[3:])
        ys = jnp.concatenate([first.ys, second.ys])
        return weigh((second.carry, ys)), ys

    return jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True, allow_int=True))(*setup(cell))


def test_no_reset_past_the_end_of_a_sequence():
    cell = cells.lstm(H)
    params, xs, carry = setup(cell)
    resets = jnp.zeros((T, B), bool).at[4].set(True)
    for backend in ("scan", "loop"):
        lengths = jnp.full(B, 4)
        plain = run(cell, params, xs, carry, lengths=lengths, backend=backend)
        assert_close(run(cell, params, xs, carry, lengths=lengths, resets=resets, backend=backend), plain)


@pytest.mark.parametrize("backend", ["scan", "loop"])
@pytest.mark.parametrize("name", cells.CELLS)
def test_bfloat16_keeps_dtypes(name, backend):
    cell = oracles.small(name, H, dtype=jnp.bfloat16)
    params, _, _ = setup(make(name))
    xs = jnp.ones((T, B, D), jnp.bfloat16)

    def loss(params, xs):
        out = unroll.unroll(cell, params, xs, backend=backend)
        return weigh(out), out

    gradients, out = jax.eval_shape(jax.grad(loss, (0, 1), has_aux=True), params, xs)
    assert out.ys.dtype == jnp.bfloat16
    start = cell.carry(params, B)
    assert jax.tree.map(lambda a: a.dtype, out.carry) == jax.tree.map(lambda a: a.dtype, start)
    assert jax.tree.map(lambda a: a.dtype, gradients) == jax.tree.map(lambda a: a.dtype, (params, xs))
    # bfloat16 keeps 8 bits: 4e-3 relative a rounding, a few of them over 5 steps.
    exact = run(make(name), params, xs.astype(jnp.float32), make(name).carry(params, B))
    assert_close(run(cell, params, xs, backend=backend).ys, exact.ys, rtol=0.05, atol=0.05)


# --- transformations --------------------------------------------------------------------------------


def test_the_second_call_does_not_compile_again():
    cell = cells.lstm(H)
    params, xs, carry = setup(cell)
    traces = []

    @jax.jit
    def step(params, xs, carry):
        traces.append(1)

        def loss(params):
            out = unroll.unroll(cell, params, xs, carry)
            return jnp.sum(out.ys), out.carry

        return jax.grad(loss, has_aux=True)(params)

    for _ in range(3):
        _, carry = step(params, xs, carry)
    assert len(traces) == 1


QUICK = jax.random.key(1, impl="unsafe_rbg")
"""For `init` inside what is compiled, where jax's default draws are most of the program."""
FLOATS = {
    "forget_bias": lambda value: cells.lstm(H, forget_bias=value),
    "zoneout": lambda value: cells.zoneout(cells.lstm(H), value, value),
    "weight_drop": lambda value: cells.weight_drop(cells.lstm(H), value),
    "closed over": odd,
}


@pytest.mark.parametrize("key", [None, KEY], ids=["deterministic", "random"])
@pytest.mark.parametrize("what", FLOATS)
def test_vmap_over_float_arguments(what, key):
    values = jnp.array([0.1, 0.5])
    xs = jax.random.normal(jax.random.key(2), (T, B, D))

    def loss(scale, value):
        cell = FLOATS[what](value)
        return weigh(unroll.unroll(cell, cell.init(QUICK, D), xs * scale, key=key))

    scales = jnp.array([1.0, 2.0])
    one = jax.jit(jax.value_and_grad(loss))
    alone = [one(s, v) for s, v in zip(scales, values, strict=True)]
    alone = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    assert_close(jax.jit(jax.vmap(jax.value_and_grad(loss)))(scales, values), alone)
    inside = jax.grad(lambda s: jnp.sum(jax.jit(jax.vmap(loss))(s, values)))
    assert_close(inside(scales), alone[1])


def test_vmap_over_params_and_inputs():
    cell = cells.lstm(H)
    params, xs, carry = setup(cell)
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), params)
    both = jax.vmap(lambda p: values_and_gradients(cell, p, xs, carry, lengths=LENGTHS, chunk=3))(many)
    for n in range(2):
        alone = values_and_gradients(
            cell, jax.tree.map(lambda a, n=n: a[n], many), xs, carry, lengths=LENGTHS, chunk=3
        )
        assert_close(jax.tree.map(lambda a, n=n: a[n], both), alone)


@pytest.mark.parametrize("what", ["closed over", "zoneout"])
def test_gradient_of_a_closed_over_number_through_jit(what):
    """The backward runs after the trace that the number belongs to; it must have been handed over."""
    xs = jax.random.normal(jax.random.key(2), (T, B, D))

    def loss(value, backend):
        cell = FLOATS[what](value)
        return weigh(unroll.unroll(cell, cell.init(QUICK, D), xs, backend=backend))

    slopes = [jax.grad(jax.jit(lambda v, b=b: loss(v, b)))(jnp.asarray(0.3)) for b in ("scan", "loop")]
    assert_close(*slopes)
    assert np.asarray(slopes[0]) != 0


@pytest.mark.parametrize("name", ["lstm", "odd"])
def test_inside_checkpoint_loops_and_switch(name):
    cell = make(name)
    params, xs, carry = setup(cell)

    def loss(params):
        return weigh(unroll.unroll(cell, params, xs, carry).ys)

    expected = jax.jit(jax.grad(loss))(params)
    assert_close(jax.jit(jax.grad(jax.checkpoint(loss)))(params), expected)
    assert_close(jax.jit(lambda i: jax.lax.switch(i, [jax.grad(loss)] * 2, params))(1), expected)

    def twice(params):
        nothing = jax.tree.map(jnp.zeros_like, params)
        return jax.lax.fori_loop(0, 2, lambda _, s: jax.tree.map(jnp.add, s, jax.grad(loss)(params)), nothing)

    total = jax.jit(twice)(params)
    assert_close(total, jax.tree.map(lambda a: 2 * a, expected))
    outside = jax.jit(jax.grad(lambda p: jax.lax.switch(1, [loss, loss], p)))(params)
    assert_close(outside, expected)


# --- what it costs ----------------------------------------------------------------------------------


def stacks_in_loops(function, *args, steps):
    """Number of arrays with leading axis T among the loop states of the compiled program."""
    text = jax.jit(function).lower(*args).compile().as_text()
    loops = re.findall(r"= (\([^\n]*?\)) while\(", text)
    assert loops
    return sum(len(re.findall(rf"\[{steps},", loop)) for loop in loops)


@pytest.mark.parametrize("chunk", [0, 5])
@pytest.mark.parametrize("name", cells.CELLS)
def test_an_unused_trace_costs_nothing(name, chunk):
    cell = oracles.small(name, H)
    silent = cell._replace(update=lambda *args: (*cell.update(*args)[:2], {}))
    steps = 23  # a number that no other axis has
    params, xs, carry = setup(cell, steps=steps)

    def squares(tree):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))

    def gradient(cell, *, trace=False):
        def loss(params):
            out = unroll.unroll(cell, params, xs, carry, chunk=chunk)
            return squares(out.ys) + (squares(out.trace) if trace else 0.0)

        return lambda params: jax.grad(loss)(params)

    def count(gradient):
        return stacks_in_loops(gradient, params, steps=chunk or steps)

    unused = count(gradient(cell))
    assert unused == count(gradient(silent))
    if name == "lstm":
        assert count(gradient(cell, trace=True)) > unused  # so that the count is known to see them


def loop_states(jaxpr, stacked=False):
    """Shapes of what is carried from step to step in every scan of a jaxpr, or of what it stacks."""
    shapes = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "scan":
            within = eqn.params["jaxpr"].jaxpr.outvars  # what is stacked lacks the time axis here
            shapes += [
                v.aval.shape
                for v, inner in zip(eqn.outvars, within, strict=True)
                if (v.aval.shape != inner.aval.shape) == stacked
            ]
        for inner in jax.tree.leaves(
            list(eqn.params.values()), is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")
        ):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                shapes += loop_states(inner, stacked)
    return shapes


@pytest.mark.parametrize("name", cells.CELLS)
def test_the_recurrent_weights_gradient_is_no_loop_state(name):
    cell = make(name)
    params, xs, carry = setup(cell, batch=2)  # a state [B, H] is not of the shape of a w_h [3, H]
    if not cell.linear:
        pytest.skip("the cell is differentiated by autodiff")

    def states(cell):
        loss = lambda p: jnp.sum(unroll.unroll(cell, p, xs, carry).ys)  # noqa: E731
        return loop_states(jax.make_jaxpr(jax.grad(loss))(params).jaxpr)

    own, by_autodiff = states(cell), states(cell._replace(linear=False))
    for leaf in oracles.facts(name).recurrent_weights:
        assert params[leaf].shape not in own, leaf
        assert params[leaf].shape in by_autodiff, leaf


@pytest.mark.parametrize(("name", "arrays"), [("lstm", 1), ("gru", 3)])
def test_z_plus_r_has_one_gradient(name, arrays):
    """Of arrays [T, B, G, H] the LSTM's scans stack one, dz; the GRU, with z and r apart, dz, dr and r."""
    cell = cells.make_cell(name, H)
    params, xs, carry = setup(cell)
    jaxpr = jax.make_jaxpr(jax.grad(lambda p: jnp.sum(unroll.unroll(cell, p, xs, carry).ys)))(params).jaxpr
    shape = (T, B, *params["w_h"].shape[1:])
    assert loop_states(jaxpr, stacked=True).count(shape) == arrays


def test_chunks_save_memory():
    cell = cells.lstm(8)
    params = cell.init(jax.random.key(0), 8)
    xs = jnp.ones((96, 4, 8))

    def room(chunk):
        gradient = jax.grad(lambda zs: jnp.sum(unroll.unroll(cell, params, zs, chunk=chunk).ys))
        return jax.jit(gradient).lower(xs).compile().memory_analysis().temp_size_in_bytes

    assert room(8) < 0.75 * room(0)


# --- flax -------------------------------------------------------------------------------------------


def test_parity_with_linen_rnn():
    cell = cells.lstm(H)
    params, xs, carry = setup(cell)
    own = {}
    for n, gate in enumerate("ifgo"):
        own["i" + gate] = {"kernel": params["w_x"][:, n]}
        own["h" + gate] = {"kernel": params["w_h"][:, n], "bias": params["b"][n]}
    layer = nn.RNN(nn.OptimizedLSTMCell(H), time_major=True, return_carry=True)
    after, ys = layer.apply(
        {"params": {"cell": own}}, xs, initial_carry=tuple(carry), seq_lengths=jnp.maximum(LENGTHS, 1)
    )
    out = unroll.unroll(cell, params, xs, carry, lengths=jnp.maximum(LENGTHS, 1))
    assert_close(tuple(out.carry), after)
    live = jnp.arange(T)[:, None] < jnp.maximum(LENGTHS, 1)
    assert_close(out.ys, jnp.where(live[..., None], ys, 0))


# --- cuDNN, without a GPU ---------------------------------------------------------------------------


def test_cudnn_packing_by_the_reference():
    cell = cells.lstm(H)
    params, xs, carry = setup(cell)
    packed = cudnn.pack(params["w_x"], params["w_h"], params["b"])
    assert packed.shape == (rnn.get_num_params_in_lstm(D, H, 1, False),)
    weights = rnn.unpack_lstm_weights(packed, D, H, 1, False)
    ys, h, c = rnn.lstm_ref(
        xs.swapaxes(0, 1), carry.h[None], carry.c[None], *weights, jnp.full(B, T), D, H, 1, 0.0, False
    )
    out = unroll.unroll(cell, params, xs, carry)
    assert_close((ys.swapaxes(0, 1), c[0], h[0]), (out.ys, out.carry.c, out.carry.h))


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("case", ["lstm-plain", "lstm-frozen"])
def test_cudnn_equals_loop_with_the_reference_in_its_place(case, lengths, monkeypatch):
    def stand_in(x, h_0, c_0, weights, seq_lengths, d, h, layers, dropout, bidirectional):
        parts = rnn.unpack_lstm_weights(weights, d, h, layers, bidirectional)
        return rnn.lstm_ref(x, h_0, c_0, *parts, seq_lengths, d, h, layers, dropout, bidirectional)

    monkeypatch.setattr(rnn, "lstm", stand_in)
    monkeypatch.setattr(cudnn, "CONFIRMED", True)
    monkeypatch.setattr(unroll, "platform_name", lambda: "gpu")
    cell = CASES[case]()

    def gradients(backend):
        def loss(params, xs, carry):
            out = unroll.unroll(cell, params, xs, carry, lengths=lengths, backend=backend)
            return weigh((out.carry, out.ys)), (out.carry, out.ys)

        return jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*setup(cell))

    assert_close(gradients("cudnn"), gradients("loop"))
    assert unroll.unroll(cell, *setup(cell), backend="cudnn").trace == {}


WANTS = [{}, dict(lengths=True), dict(resets=True), dict(trace=True), dict(chunk=2), dict(vmapped=True)]


@pytest.mark.parametrize("platform", ["cpu", "gpu", "rocm", "tpu"])
@each_case
def test_every_backend_serves_or_says_why_not(case, platform):
    cell = CASES[case]()
    for backend in unroll.BACKENDS.values():
        for wanted in WANTS:
            reason = backend.supports(cell, platform=platform, **wanted)
            assert reason is None or (isinstance(reason, str) and reason.startswith("it "))


def test_what_cudnn_serves(monkeypatch):
    cell = cells.lstm(H)
    with pytest.raises(UserError, match="no GPU has confirmed the remedy"):
        unroll.choose(cell, "cudnn", platform="gpu")
    monkeypatch.setattr(cudnn, "CONFIRMED", True)
    assert unroll.choose(cell, "cudnn", platform="gpu")[0] == "cudnn"
    assert unroll.choose(cell, "cudnn", platform="gpu", lengths=True)[0] == "cudnn"
    refused = {
        "platform is cpu": (cell, dict(platform="cpu")),
        "platform is rocm": (cell, dict(platform="rocm")),
        "'gru'": (cells.gru(H), {}),
        "wrapper 'zoneout'": (cells.zoneout(cell, 0.1), {}),
        "wrapper 'weight_drop'": (cells.weight_drop(cell, 0.1), {}),
        "trace": (cell, dict(trace=True)),
        "resets": (cell, dict(resets=True)),
        "chunk": (cell, dict(chunk=4)),
        "vmapped": (cell, dict(vmapped=True)),
        "bfloat16": (cells.lstm(H, dtype=jnp.bfloat16), {}),
    }
    for reason, (refused_cell, wanted) in refused.items():
        wanted = dict(platform="gpu") | wanted
        with pytest.raises(UserError, match=re.escape(reason)):
            unroll.choose(refused_cell, "cudnn", **wanted)


def test_auto_takes_the_fused_kernels_only_on_a_gpu_that_has_confirmed_them(monkeypatch):
    cell = cells.lstm(H)
    assert unroll.choose(cell)[0] == "scan"
    monkeypatch.setattr(fused.persistent, "unavailable", lambda: None)
    for capability, expected in (("9.0", "fused"), ("8.0", "scan")):
        gpu = SimpleNamespace(compute_capability=capability)
        monkeypatch.setattr(jax, "devices", lambda gpu=gpu: [gpu])
        name, why = unroll.choose(cell, platform="gpu")
        assert name == expected and (name == "fused" or "compute capability 8.0" in why)
        assert unroll.choose(cell, platform="gpu", vmapped=True)[0] == "scan"
        assert unroll.choose(cells.layer_norm_lstm(H), platform="gpu")[0] == "scan"


def test_choose_by_name():
    cell = cells.lstm(H)
    assert unroll.choose(cell, "loop") == ("loop", "asked for")
    with pytest.raises(UserError, match="did you mean 'scan'"):
        unroll.choose(cell, "scann")
    with pytest.raises(UserError, match="needs an NVIDIA GPU"):
        unroll.unroll(cell, *setup(cell), backend="cudnn")


@each_cell
def test_what_lies_past_a_length_reaches_no_gradient(name):
    """NaN in the padding, as ragged batches have it, gives the values and gradients that zeros there give."""
    cell = make(name)
    params, xs, carry = setup(cell)
    padded = jnp.arange(T)[:, None, None] >= LENGTHS[:, None]
    filled = [jnp.where(padded, value, xs) for value in (0.0, jnp.nan)]
    zeros, nans = (values_and_gradients(cell, params, x, carry, lengths=LENGTHS) for x in filled)
    assert_close(nans, zeros)


BAD = {
    r"xs must be \[T, B, D\]": dict(xs=jnp.zeros((T, D))),
    "T at least 1": dict(xs=jnp.zeros((0, B, D))),
    "B at least 1": dict(xs=jnp.zeros((T, 0, D))),
    r"has D = 3, and the parameters of cell 'lstm' are for another D": dict(xs=jnp.zeros((T, B, D + 1))),
    "lengths must be": dict(lengths=jnp.zeros(B + 1, int)),
    "lengths must be .* not .2. int": dict(lengths=[1, 2]),
    "integers, not": dict(lengths=jnp.zeros(B)),
    "resets must be": dict(resets=jnp.zeros((B, T), bool)),
    "booleans": dict(resets=jnp.zeros((T, B))),
    "unroll must be 1 or more": dict(unroll=0),
    "chunk 0 or more": dict(chunk=-1),
    "carry of cell 'lstm'": dict(carry=(jnp.zeros((B, H)), jnp.zeros((B, H)))),
    r"\[3, 4\]": dict(carry=cells.LSTMCarry(jnp.zeros((B, H)), jnp.zeros((B, H + 1)))),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    cell = cells.lstm(H)
    params, xs, carry = setup(cell)
    with pytest.raises(UserError, match=message):
        unroll.unroll(cell, params, **(dict(xs=xs, carry=carry) | BAD[message]))
