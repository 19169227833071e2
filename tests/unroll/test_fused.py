"""The fused backend on a CPU: its kernels' own text, emulated, against the loop; and what it refuses."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import cells, unroll
from lstm_jax.unroll import fused, persistent, properties
from tests import emulated_gpu, oracles

H, B, T = 6, 3, 5
KEY = jax.random.key(11)
SERVED = ("lstm", "gru", "elman", "peephole", "slstm", "ur_lstm")
"""Between them: several products, one gate, no z + r alone, weights in the update, carries of four leaves."""
REFUSED = {
    "layer_norm_lstm": "mix the units",
    "on_lstm": "mix the units",
    "scrn": "mix the units",
    "mogrifier": "linear",
    "projected_lstm": "'dot_general' beside it",
    "min_lstm": "needs a recurrent product",
    "min_gru": "needs a recurrent product",
    **dict.fromkeys(("para_lstm", "para_gru", "indrnn"), "serves a recurrent product alone"),
}
emulated = pytest.mark.skipif(emulated_gpu.COMPILER is None, reason="no C++ compiler")


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    """A GPU of three blocks of two warps."""
    monkeypatch.setattr(persistent, "launch", emulated_gpu.launch)
    monkeypatch.setattr(persistent, "plan", functools.partial(persistent.plan, blocks=3, warps=2))
    monkeypatch.setattr(persistent, "compiler", lambda: "a compiler")
    monkeypatch.setattr(unroll, "platform_name", lambda: "gpu")
    with jax.default_matmul_precision("highest"):
        yield


def assert_equal_loop(cell, given, **options):
    runs = (properties.values_and_gradients(cell, *given, backend=b, **options) for b in ("fused", "loop"))
    for got, due in zip(*runs, strict=True):
        assert properties.difference(got, due) is None


@emulated
@pytest.mark.parametrize("name", SERVED)
def test_fused_equals_loop(name):
    """Values (trace and all) and gradients; with lengths and resets, of which the plain run is a case."""
    cell = oracles.small(name, H)
    resets = jnp.zeros((T, B), bool).at[0, 0].set(True).at[2].set(True).at[4, 0].set(True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_equal_loop(cell, properties.setting(cell), lengths=jnp.array([T, 0, 3]), resets=resets)


@emulated
def test_under_wrappers_with_random_draws():
    cell = cells.zoneout(cells.weight_drop(cells.lstm(H), 0.4), 0.3, 0.2)
    assert_equal_loop(cell, properties.setting(cell), key=KEY)


@emulated
def test_bfloat16_is_near_float32():
    params, xs = cells.lstm(40).init(KEY, 4), jax.random.normal(KEY, (T, 9, 4))

    def gradients(backend, dtype):
        cell = cells.lstm(40, dtype=dtype)  # K of two chunks, the second not full

        def loss(params, xs):
            out = unroll.unroll(cell, params, xs, backend=backend)
            return properties.weigh((out.carry, out.ys)), (out.carry, out.ys)

        def some():
            # Not that of w_h: one product outside the kernel, which XLA cannot do in bfloat16 on a CPU.
            (d_params, d_xs), out = jax.grad(loss, (0, 1), has_aux=True)(params, xs)
            return (d_params["b"], d_xs), out

        return jax.jit(some)()

    fast, exact = gradients("fused", jnp.bfloat16), gradients("loop", jnp.float32)
    assert fast[1][1].dtype == jnp.bfloat16 and fast[1][0].c.dtype == jnp.float32
    for a, d in zip(jax.tree.leaves(fast), jax.tree.leaves(exact), strict=True):
        a, d = np.asarray(a, np.float64), np.asarray(d, np.float64)
        assert np.linalg.norm(a - d) < 0.02 * np.linalg.norm(d)  # bfloat16 keeps 4e-3 a rounding


@emulated
def test_tf32_where_the_precision_allows_it(monkeypatch):
    given = properties.setting(cells.lstm(H))
    monkeypatch.setattr(persistent, "ONE_PASS", True)
    exact, again, coarse = (run_with(precision, given) for precision in ("highest", "float32", "default"))
    assert properties.difference(again, exact) is None
    assert properties.difference(coarse, exact) is not None
    assert properties.difference(coarse, exact, rtol=1e-3, atol=1e-3) is None  # tf32 keeps 5e-4 a number


def run_with(precision, given):
    with jax.default_matmul_precision(precision):
        return unroll.unroll(cells.lstm(H), *given, backend="fused").ys


@emulated
def test_slices_in_shared_memory(monkeypatch):
    """Where the registers are full, the rest of the slice is in shared memory."""
    plan = persistent.plan

    def tight(**sizes):
        cut = plan(**sizes)
        assert cut.in_registers > 0
        rest = -(-sizes["depth"] // 16) * cut.tiles * 2 * 512  # all of it; room enough
        return cut._replace(in_registers=0, shared_bytes=cut.shared_bytes + 2 * rest)

    monkeypatch.setattr(persistent, "plan", tight)
    cell = cells.gru(18)
    assert_equal_loop(cell, properties.setting(cell))


@emulated
def test_under_vmap_one_after_the_other():
    cell = cells.elman(H)
    given = properties.setting(cell)
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), given.params)

    def gradients(params):
        return properties.values_and_gradients(cell, params, *given[1:], backend="fused")

    both = jax.vmap(gradients)(many)
    for n in range(2):
        alone = gradients(jax.tree.map(lambda leaf, n=n: leaf[n], many))
        assert properties.difference(jax.tree.map(lambda leaf, n=n: leaf[n], both), alone) is None


@emulated
@pytest.mark.parametrize("clusters", [(2, 2), (1, 4)])
def test_blocks_in_clusters(monkeypatch, clusters):
    monkeypatch.setattr(persistent, "CLUSTERS", clusters)
    monkeypatch.setattr(persistent, "plan", functools.partial(persistent.plan, blocks=4))
    cell = cells.gru(23)
    assert_equal_loop(cell, properties.setting(cell))


@pytest.mark.parametrize("name", cells.CELLS)
def test_serves_or_says_why_not(name):
    cell = oracles.small(name, H)
    reason = fused.supports(cell, platform="gpu")
    if name in REFUSED:
        assert reason is not None and REFUSED[name] in reason
    elif cell.linear and cell.pointwise:
        assert reason is None
    else:
        assert reason is not None and reason.startswith("it ")


def test_what_fused_refuses():
    cell = cells.lstm(H)
    refused = {
        "platform is cpu": (cell, dict(platform="cpu")),
        "platform is rocm": (cell, dict(platform="rocm")),
        "vmapped": (cell, dict(vmapped=True)),
        "chunk": (cell, dict(chunk=4)),
        "float32 or bfloat16, not of float16": (cells.lstm(H, dtype=jnp.float16), {}),
        "H = 4000": (cells.lstm(4000, dtype=jnp.bfloat16), {}),
        "at B = 512": (cell, dict(batch=512)),
    }
    for reason, (refused_cell, wanted) in refused.items():
        assert reason in fused.supports(refused_cell, **(dict(platform="gpu") | wanted))


def test_a_batch_that_does_not_fit_runs_on_the_scan():
    cell = cells.lstm(H)
    params, xs = cell.init(KEY, 2), jax.random.normal(KEY, (2, 512, 2))
    with pytest.warns(UserWarning, match="to the scan: it cannot hold .* at B = 512"):
        got = unroll.unroll(cell, params, xs, backend="fused")
    assert properties.difference(got, unroll.unroll(cell, params, xs, backend="scan")) is None


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_auto_never_takes_it(platform):
    assert unroll.choose(cells.gru(H), platform=platform)[0] == "scan"
