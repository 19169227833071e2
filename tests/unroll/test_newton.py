"""The newton backend: every cell that it serves against the loop, hard cases, iterations, chunks, devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import cells, unroll
from lstm_jax.support.errors import UserError
from lstm_jax.unroll import newton, properties
from lstm_jax.unroll.newton import Settings, unroll_with_effort
from lstm_jax.unroll.step_jacobian import form_of, recurrence
from tests import oracles

T, B, H = 5, 3, 4
OPTIONS = dict(
    lengths=jnp.array([T, 0, 3]),
    resets=jnp.zeros((T, B), bool).at[0, 0].set(True).at[2].set(True).at[4, 0].set(True),
)
SERVED = [name for name in cells.CELLS if form_of(oracles.small(name, H))]
DIAGONAL = ("para_lstm", "para_gru", "indrnn", "min_lstm")


@functools.cache
def made(name, steps=T, **options):
    cell = oracles.small(name, H, **options)
    return cell, properties.setting(cell, steps=steps)


def assert_equal(backend, other, cell, given, *, tolerance=None, **options):
    found, due = (
        properties.values_and_gradients(cell, *given, backend=b, **options) for b in (backend, other)
    )
    for a, d in zip(found, due, strict=True):
        assert properties.difference(a, d, **(tolerance or {})) is None


def test_forms_are_found():
    forms = {name: form_of(cells.make_cell(name, 128)) for name in (*DIAGONAL, "lstm", "gru", "mogrifier")}
    assert forms == dict.fromkeys(DIAGONAL, "units") | dict(lstm="quasi", gru="quasi", mogrifier=None)
    assert form_of(cells.lstm(H)) == "dense"
    dropped = cells.zoneout(cells.weight_drop(cells.para_lstm(128), 0.3), 0.2, 0.1)
    assert form_of(dropped) == "units"
    assert list(cells.CELLS) == SERVED


@pytest.mark.parametrize("name", SERVED)
def test_equals_the_scan_in_values_and_gradients(name):
    """With lengths and resets; the scan is held to the loop by tests/unroll/test_unroll.py."""
    assert_equal("newton", "scan", *made(name), **OPTIONS)


@pytest.mark.parametrize("name", ["para_lstm", "gru"])
def test_equals_the_loop_with_random_draws(name):
    cell, given = made(name)
    noisy = cells.zoneout(cells.weight_drop(cell, 0.4), hidden_rate=0.3)
    assert_equal("newton", "loop", noisy, given, key=jax.random.key(11))


@pytest.mark.parametrize("name", ["lstm", "elman"])
def test_quasi_newton_equals_the_loop(name):
    cell, given = made(name)

    def gradients(run):
        def loss(params, xs, carry):
            out = run(params, xs, carry)
            return properties.weigh(out), out

        return jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*given)

    quasi = Settings("quasi", damping=False)
    found = gradients(lambda *given: unroll_with_effort(cell, *given, settings=quasi)[0])
    due = gradients(lambda *given: unroll.unroll(cell, *given, backend="loop"))
    assert properties.difference(found, due) is None


def trained_like(cell, seed=3):
    """Parameters with forget gates near 1 and saturated gates, as long training leaves them."""
    params = cell.init(jax.random.key(seed), 3)
    if "b" in params and params["b"].shape[0] > 1:
        params["b"] = params["b"] + 3.0 * jnp.sign(jnp.sin(jnp.arange(params["b"].size))).reshape(
            params["b"].shape
        )
    return {name: leaf * (1.0 if name.startswith("b") else 2.0) for name, leaf in params.items()}


@pytest.mark.parametrize("steps", [1, 2, 257, 2048])
@pytest.mark.parametrize("name", ["para_lstm", "para_gru"])
def test_long_windows_equal_the_scan(name, steps):
    """And converge, for parameters as long training leaves them."""
    cell = cells.make_cell(name, H)
    params = trained_like(cell)
    xs = jax.random.normal(jax.random.key(2), (steps, B, 3))
    given = params, xs, cell.carry(params, B)
    # Sums of the weights' gradients run over 2,048 steps and 3 sequences.
    assert_equal("newton", "scan", cell, given, tolerance=dict(rtol=2e-4, atol=2e-4))
    effort = jax.jit(functools.partial(unroll_with_effort, cell))(*given)[1]
    assert effort.iterations.shape == (steps,) and 1 <= int(effort.iterations[0]) <= 20
    assert not effort.sequential.any()


def test_a_dense_lstm_over_300_steps_equals_the_scan():
    cell = cells.lstm(H)
    params = cell.init(jax.random.key(3), 3)
    given = params, jax.random.normal(jax.random.key(2), (300, B, 3)), cell.carry(params, B)
    assert_equal("newton", "scan", cell, given, tolerance=dict(rtol=2e-4, atol=2e-4))
    assert not jax.jit(functools.partial(unroll_with_effort, cell))(*given)[1].sequential.any()


def test_forget_gates_at_one_remember_for_ever():
    """c' = c + i g: sums over 600 steps, the Jacobian's largest eigenvalue 1."""
    cell = cells.lstm(H, forget_bias=40.0)
    params = cell.init(jax.random.key(3), 3)
    given = params, jax.random.normal(jax.random.key(2), (600, B, 3)), cell.carry(params, B)
    out, effort = jax.jit(functools.partial(unroll_with_effort, cell))(*given)
    assert float(jnp.abs(out.carry.c).max()) > 5.0
    assert properties.difference(out, properties.run(cell, *given), rtol=1e-4, atol=1e-4) is None
    assert int(effort.iterations[0]) >= 2


@pytest.mark.parametrize("form", ["dense", "quasi"])
def test_a_chaotic_network_falls_back_and_is_right(form):
    """Weights of gain 5: after some steps rounding decides, so only the loop's own steps can be right."""
    cell = cells.elman(8)
    params = cell.init(jax.random.key(0), 3)
    params["w_h"] = 5.0 * params["w_h"]
    xs = jax.random.normal(jax.random.key(2), (200, B, 3))
    solved = functools.partial(unroll_with_effort, cell, settings=Settings(form, iterations=6))
    out, effort = jax.jit(solved)(params, xs)
    sequential = np.asarray(effort.sequential)
    first = int(np.argmax(sequential))
    assert int(effort.iterations[0]) == 6 and sequential[first:].all() and 6 <= first < 150
    # Every step is that of the cell from the step before it: no trajectory can be asked for more.
    before = cells.ElmanCarry(jnp.concatenate([jnp.zeros((1, B, 8)), out.ys[:-1]]))
    seen, zs = cell.prepare(params, xs, None)
    step = jax.vmap(lambda carry, z: cell.update(seen, carry, z, cell.recur(seen, carry))[1])
    np.testing.assert_allclose(step(before, zs), out.ys, atol=2e-5)
    np.testing.assert_allclose(out.ys[:9], properties.run(cell, params, xs[:9]).ys, atol=1e-3)


def test_a_memory_that_overflows_is_as_the_scan_has_it():
    """Rectified units of weight 3 pass 1e38 in 80 steps: infinite there and nowhere before."""
    cell = cells.indrnn(2)
    params = cell.init(jax.random.key(0), 1) | {"w_h": jnp.full((1, 2), 3.0), "b": jnp.ones((1, 2))}
    xs = jnp.ones((100, 1, 1))
    found, due = (properties.run(cell, params, xs, backend=b).ys for b in ("newton", "scan"))
    assert np.isinf(due[-1]).any() and np.isfinite(due[70]).all()
    np.testing.assert_allclose(found, due, rtol=1e-5)


def test_chunks_change_no_value_and_no_gradient():
    cell, given = made("para_lstm", steps=7)
    assert_equal("newton", "scan", cell, given, chunk=3)


def test_bfloat16_iterates_in_float32_and_keeps_dtypes():
    cell = cells.para_lstm(H, dtype=jnp.bfloat16)
    params = cell.init(jax.random.key(3), 3)
    xs = jax.random.normal(jax.random.key(2), (40, B, 3)).astype(jnp.bfloat16)
    out, effort = jax.jit(functools.partial(unroll_with_effort, cell))(params, xs)
    assert (out.ys.dtype, out.carry.c.dtype, out.carry.h.dtype) == (jnp.bfloat16, jnp.float32, jnp.bfloat16)
    assert not effort.sequential.any()
    wide = properties.run(cells.para_lstm(H), params, xs.astype(jnp.float32))
    assert properties.difference(out.ys, wide.ys, rtol=0.03, atol=0.03) is None
    plain = properties.run(cell, params, xs)
    assert properties.difference(out.ys, plain.ys, rtol=0.03, atol=0.03) is None


@pytest.mark.parametrize("name", ["para_lstm", "elman"])
def test_members_of_a_vmap_converge_each_by_itself(name):
    """One of them needs the sequential rest, the other does not: each is right, in gradients too."""
    cell = cells.make_cell(name, H)
    params = cell.init(jax.random.key(0), 3)
    xs = jax.random.normal(jax.random.key(2), (30, 2, 3))
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, 3.0 * leaf]), params)

    def loss(backend, params):
        return jnp.sum(jnp.sin(unroll.unroll(cell, params, xs, backend=backend).ys))

    found = jax.jit(jax.vmap(jax.grad(functools.partial(loss, "newton"))))(both)
    for k in range(2):
        one = jax.tree.map(lambda leaf, k=k: leaf[k], both)
        due = jax.jit(jax.grad(functools.partial(loss, "scan")))(one)
        alone = jax.tree.map(lambda leaf, k=k: leaf[k], found)
        assert properties.difference(alone, due, rtol=1e-3, atol=1e-3) is None


def test_on_eight_devices(on_devices):
    on_devices(
        """
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import Mesh, NamedSharding, PartitionSpec
        from lstm_jax import cells, unroll
        mesh = Mesh(np.array(jax.devices()), ("batch",))
        cell = cells.para_lstm(4)
        params = cell.init(jax.random.key(0), 3)
        xs = jax.random.normal(jax.random.key(1), (20, 16, 3))
        def loss(params, xs, backend):
            return jnp.mean(jnp.square(unroll.unroll(cell, params, xs, backend=backend).ys))
        both = jax.jit(jax.value_and_grad(loss, (0, 1)), static_argnames="backend")
        split = jax.device_put(xs, NamedSharding(mesh, PartitionSpec(None, "batch")))
        found, due = both(params, split, "newton"), both(params, xs, "scan")
        assert len(found[1][1].sharding.device_set) == 8
        jax.tree.map(lambda a, d: np.testing.assert_allclose(a, d, rtol=2e-5, atol=1e-6), found, due)
        """
    )


def test_iterates_converge_to_the_solution():
    cell, given = made("para_lstm", steps=30)
    params, xs, carry = given
    shown = newton.iterates(cell, params, xs, 6, carry=carry)
    assert shown.h.shape == (7, 30, B, H)
    due = properties.run(cell, *given).ys
    errors = np.abs(np.asarray(shown.h - due)).max((1, 2, 3))
    assert errors[0] > 0.05 and errors[6] < 1e-5 and np.all(np.diff(errors[:4]) < 0)
    # Whatever J is, k iterations make the first k steps right; with J = 0 there is no more.
    np.testing.assert_allclose(shown.h[1, 0], due[0], atol=1e-6)


def test_a_recurrence_of_matrices_equals_the_loop():
    rng = np.random.default_rng(0)
    for count in (1, 3, 9):  # 9: by matrix products
        jacobians = rng.normal(size=(6, count, count, 2, 3)) / count
        entries = rng.normal(size=(6, count, 2, 3))
        state, due = np.zeros((count, 2, 3)), []
        for j, e in zip(jacobians, entries, strict=True):
            state = np.einsum("ikbu,kbu->ibu", j, state) + e
            due.append(state)
        found = jax.jit(recurrence)(jnp.asarray(jacobians, jnp.float32), jnp.asarray(entries, jnp.float32))
        np.testing.assert_allclose(found, np.stack(due), rtol=2e-5, atol=1e-5)


def test_refuses_what_it_cannot_run_and_auto_does_not_choose_it():
    wide = cells.mogrifier(128)
    with pytest.raises(
        UserError, match="'newton' cannot run the cell 'mogrifier': it needs a carry of at most"
    ):
        unroll.choose(wide, "newton")
    params = cells.para_lstm(H).init(jax.random.key(0), 3)
    with pytest.raises(UserError, match="has no form 'banded'; allowed: units"):
        unroll_with_effort(cells.para_lstm(H), params, jnp.ones((2, 1, 3)), settings=Settings("banded"))
    for platform in ("cpu", "gpu", "tpu"):
        assert unroll.choose(cells.para_lstm(H), platform=platform)[0] == "scan"
