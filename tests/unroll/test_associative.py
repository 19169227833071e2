"""The associative backend against the loop, over long windows, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import cells, unroll
from lstm_jax.support.errors import UserError
from lstm_jax.unroll.associative import linear_recurrence

T, B, D, H = 7, 3, 2, 4
LENGTHS = jnp.array([T, 0, 3])
RESETS = jnp.zeros((T, B), bool).at[0, 0].set(True).at[2].set(True).at[4:6, 0].set(True)
# float32 keeps 6e-8 relative; gradients of order 1 are sums of ~100 terms over 7 steps, reordered.
CLOSE = dict(rtol=2e-5, atol=5e-6)
PARALLEL = [name for name in cells.CELLS if cells.make_cell(name, 8).affine is not None]
each_cell = pytest.mark.parametrize("name", PARALLEL)


def setup(name, steps=T, **options):
    cell = cells.make_cell(name, H, **options)
    params = cell.init(jax.random.key(1), D)
    params["b"] = jax.random.normal(jax.random.key(4), params["b"].shape)
    xs = jax.random.normal(jax.random.key(2), (steps, B, D))
    carry = jax.tree.map(lambda leaf: leaf + jnp.cos(jnp.arange(1.0, H + 1)), cell.carry(params, B))
    return cell, params, xs, carry


def close(actual, desired, **tolerance):
    jax.tree.map(lambda a, d: np.testing.assert_allclose(a, d, **(CLOSE | tolerance)), actual, desired)


def weigh(tree):
    rng = np.random.default_rng(5)
    return sum(jnp.sum(leaf * rng.standard_normal(leaf.shape)) for leaf in jax.tree.leaves(tree))


def test_the_minimal_cells_are_parallel():
    assert {"min_lstm", "min_gru"} <= set(PARALLEL)


OPTIONS = {
    "alone": {},
    "lengths": dict(lengths=LENGTHS),
    "resets": dict(resets=RESETS),
    "both": dict(lengths=LENGTHS, resets=RESETS),
}


@pytest.mark.parametrize("options", OPTIONS)
@each_cell
def test_equals_loop_in_values_and_gradients(name, options):
    """From a carry that is not zero; the gradients with respect to it among them."""
    cell, *arguments = setup(name)

    def gradients(backend):
        def loss(params, xs, carry):
            out = unroll.unroll(cell, params, xs, carry, backend=backend, **OPTIONS[options])
            return weigh(out), out

        return jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*arguments)

    close(gradients("associative"), gradients("loop"))


@each_cell
def test_windows_with_the_carry_equal_the_whole(name):
    cell, params, xs, carry = setup(name)
    whole = unroll.unroll(cell, params, xs, carry, backend="associative")
    first = unroll.unroll(cell, params, xs[:3], carry, backend="associative")
    second = unroll.unroll(cell, params, xs[3:], first.carry, backend="associative")
    close((second.carry, second.ys), (whole.carry, whole.ys[3:]))
    close(first.ys, whole.ys[:3])


@each_cell
def test_a_single_step_and_a_batch_under_vmap(name):
    cell, params, xs, carry = setup(name, steps=1)
    close(
        unroll.unroll(cell, params, xs, carry, backend="associative"),
        unroll.unroll(cell, params, xs, carry, backend="scan"),
    )
    many = jnp.stack([xs, 2.0 * xs])
    both = jax.vmap(lambda xs: unroll.unroll(cell, params, xs, backend="associative").ys)(many)
    close(both[1], unroll.unroll(cell, params, 2.0 * xs, backend="scan").ys)


@pytest.mark.parametrize("scale", [1.0, 1e4])
@each_cell
def test_long_windows_stay_near_float64(name, scale):
    """300 steps of gates that all but close or all but open: nothing overflows, in values or gradients."""
    cell, params, xs, carry = setup(name, steps=300)

    def loss(xs):
        out = unroll.unroll(cell, params, scale * xs, carry, backend="associative")
        return jnp.sum(out.ys), out

    gradient, out = jax.jit(jax.grad(loss, has_aux=True))(xs)
    f, entry = (np.asarray(out.trace[gate], np.float64) for gate in ("f", "i"))
    entry = entry * np.asarray(out.trace["g"], np.float64)
    c = np.asarray(carry.c, np.float64)
    for t in range(300):
        c = f[t] * c + entry[t]
        # c holds a sum of up to 300 terms of one sign, each rounded at 6e-8.
        np.testing.assert_allclose(out.ys[t], c, rtol=2e-5, atol=2e-6 * scale)
    assert np.isfinite(gradient).all()


def test_bfloat16_keeps_dtypes_and_a_float32_memory():
    cell, params, xs, carry = setup("min_lstm", dtype=jnp.bfloat16)
    out = unroll.unroll(cell, params, xs, carry, backend="associative")
    plain = unroll.unroll(cell, params, xs, carry, backend="scan")
    assert (out.ys.dtype, out.carry.c.dtype) == (jnp.bfloat16, jnp.float32)
    close(out.carry, plain.carry)


def test_linear_recurrence_and_its_first_and_second_gradients():
    rng = np.random.default_rng(0)
    decay, entry = (
        jnp.asarray(rng.uniform(0, 1, (9, 2)), jnp.float32),
        jnp.asarray(rng.normal(size=(9, 2)), jnp.float32),
    )

    def plain(decay, entry):
        c, all_c = jnp.zeros(2), []
        for a, b in zip(decay, entry, strict=True):
            c = a * c + b
            all_c.append(c)
        return jnp.stack(all_c)

    def results(function):
        loss = lambda a, b: jnp.sum(jnp.sin(function(a, b)))  # noqa: E731
        slope = lambda a, b: weigh(jax.grad(loss, (0, 1))(a, b))  # noqa: E731
        derivatives = [jax.grad(f, (0, 1))(decay, entry) for f in (loss, slope)]
        return function(decay, entry), *derivatives

    close(jax.jit(lambda: results(linear_recurrence))(), jax.jit(lambda: results(plain))())


def test_refuses_what_it_cannot_run():
    lstm = cells.lstm(H)
    with pytest.raises(
        UserError, match=r"'associative' cannot run the cell 'lstm': it needs gates that see the"
    ):
        unroll.choose(lstm, "associative")
    zoned = cells.zoneout(cells.min_lstm(H), cell_rate=0.5)
    with pytest.raises(UserError, match="'min_lstm' has not under the wrapper 'zoneout'"):
        unroll.choose(zoned, "associative")
    with pytest.raises(UserError, match="it cannot recompute in chunks"):
        unroll.choose(cells.min_lstm(H), "associative", chunk=4)
    for wanted in (dict(lengths=True), dict(resets=True), dict(trace=True), dict(vmapped=True)):
        assert unroll.choose(cells.min_lstm(H), "associative", **wanted)[0] == "associative"


@each_cell
def test_auto_does_not_choose_it_silently(name):
    for platform in ("cpu", "gpu", "tpu"):
        assert unroll.choose(cells.make_cell(name, H), platform=platform)[0] == "scan"
