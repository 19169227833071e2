"""What the structured cells claim beyond their equations: reductions, bounds, and what stays finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import cells, models
from lstm_jax.support.errors import UserError
from tests import step_loop

T, B, D, H = 6, 3, 4, 6
# float32 keeps 6e-8 relative; sums of ~10 terms of order 1 over 6 steps stay well within this.
CLOSE = dict(rtol=2e-5, atol=2e-6)


def made(name, *, hidden=H, **options):
    cell = cells.make_cell(name, hidden, **options)
    return cell, cell.init(jax.random.key(1), D)


def inputs(steps=T):
    return jax.random.normal(jax.random.key(2), (steps, B, D))


def random_state(cell, params, seed=3):
    """A carry of numbers within -1 and 1."""
    leaves, tree = jax.tree.flatten(cell.carry(params, B))
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    drawn = [jax.random.uniform(k, a.shape, a.dtype, -1, 1) for k, a in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, drawn)


def close(actual, desired):
    jax.tree.map(lambda a, d: np.testing.assert_allclose(a, d, **CLOSE), actual, desired)


# ---------------------------------------------------------------- projected LSTM


def test_projected_lstm_equals_torch():
    torch = pytest.importorskip("torch")
    cell, params = made("projected_lstm", projection=2)
    params = {**params, "b": jax.random.normal(jax.random.key(4), params["b"].shape)}
    layer = torch.nn.LSTM(D, H, proj_size=2)
    weights = {
        "weight_ih_l0": np.reshape(params["w_x"], (D, -1)).T,
        "weight_hh_l0": np.reshape(params["w_h"], (2, -1)).T,
        "bias_ih_l0": np.ravel(params["b"]),
        "bias_hh_l0": np.zeros(4 * H, np.float32),
        "weight_hr_l0": np.asarray(params["w_p"]).T,
    }
    layer.load_state_dict({name: torch.tensor(np.array(value)) for name, value in weights.items()})
    ys, (h, c) = layer(torch.tensor(np.array(inputs())))
    (ys**2).sum().backward()

    def loss(params):
        carry, own, _ = step_loop.run(cell, params, inputs())
        return jnp.sum(own**2), (carry, own)

    gradients, (carry, own) = jax.grad(loss, has_aux=True)(params)
    close((own, own[-1], carry.c), (ys.detach().numpy(), h[0].detach().numpy(), c[0].detach().numpy()))
    ours = {
        "weight_ih_l0": np.reshape(gradients["w_x"], (D, -1)).T,
        "weight_hh_l0": np.reshape(gradients["w_h"], (2, -1)).T,
        "bias_ih_l0": np.ravel(gradients["b"]),
        "weight_hr_l0": np.asarray(gradients["w_p"]).T,
    }
    for name, value in ours.items():
        np.testing.assert_allclose(value, getattr(layer, name).grad.numpy(), rtol=1e-4, atol=1e-5)


def test_projected_lstm_with_the_identity_is_the_lstm():
    lstm, params = made("lstm")
    cell, _ = made("projected_lstm", projection=H)
    with_identity = {**params, "w_p": jnp.eye(H)}
    start = random_state(lstm, params)
    close(step_loop.run(cell, with_identity, inputs(), start), step_loop.run(lstm, params, inputs(), start))


def test_projected_lstm_has_the_width_of_its_projection():
    assert made("projected_lstm", hidden=5)[0].output_dim == 3
    cell, params = made("projected_lstm", options="projection=4")
    assert cell.output_dim == 4 and cell.linear and cell.pointwise
    assert params["w_h"].shape == (4, 4, H) and params["w_p"].shape == (H, 4)
    for bad in (0, 1.5, True):
        with pytest.raises(UserError, match="projection must be a positive whole number"):
            cells.projected_lstm(H, projection=bad)


def test_projected_lstm_under_a_tied_head():
    """The embedding is as wide as the projection, not as the hidden units."""
    cell = {"name": "projected_lstm", "projection": 3}
    options = dict(vocab=7, outputs=7, hidden=(H, H), tied=True, cell=cell)
    model = models.recurrent(embedding=3, **options)
    params = model.init(jax.random.key(0))
    tokens = jnp.zeros((T, B), int)
    outputs = jax.eval_shape(lambda p: model.apply(p, tokens, model.carry(p, B)), params)
    assert outputs.logits.shape == (T, B, 7) and outputs.hidden.shape == (T, B, 3)
    with pytest.raises(UserError, match=r"set model.embedding=3"):
        models.recurrent(embedding=H, **options)


# ---------------------------------------------------------------- ON-LSTM


def test_on_lstm_with_open_master_gates_is_the_lstm_but_for_the_last_chunk():
    """F = 1 everywhere and I = 1 up to the last chunk, by biases that decide both softmaxes."""
    cell, params = made("on_lstm", chunk=2)
    lstm, _ = made("lstm")
    levels = H // 2
    biases = jnp.zeros((2, levels)).at[0, 0].set(50.0).at[1, -1].set(50.0)
    params = {**params, "b_master": biases}
    for leaf in ("w_x_master", "w_h_master"):
        params[leaf] = jnp.zeros_like(params[leaf])
    start = random_state(cell, params)
    after, _, trace = step_loop.run(cell, params, inputs(1), start)
    plain, _, _ = step_loop.run(lstm, {leaf: params[leaf] for leaf in ("w_x", "w_h", "b")}, inputs(1), start)
    close((after.c[:, :-2], after.h[:, :-2]), (plain.c[:, :-2], plain.h[:, :-2]))
    close((after.c[:, -2:], trace["f"][0, :, -2:]), (start.c[:, -2:], jnp.ones((B, 2))))


def test_on_lstm_master_gates_are_ordered():
    cell, params = made("on_lstm", chunk=2)
    _, _, trace = step_loop.run(cell, params, 3.0 * inputs(), random_state(cell, params))
    rise, fall = np.asarray(trace["f_master"]), np.asarray(trace["i_master"])
    assert (np.diff(rise) >= 0).all() and (np.diff(fall) <= 0).all()
    np.testing.assert_array_equal(rise[..., ::2], rise[..., 1::2])
    np.testing.assert_array_equal(fall[..., ::2], fall[..., 1::2])
    assert (rise > 0).all() and (rise <= 1).all() and (fall >= 0).all() and (fall < 1).all()
    np.testing.assert_allclose(rise[..., -1], 1.0, atol=1e-6)
    np.testing.assert_allclose(fall[..., -1], 0.0, atol=1e-6)
    assert len(np.unique(rise[0, 0].round(5))) == H // 2
    # What the gates are let between: f^ >= F (1 - I) + F I f, and a unit's two shares stay within 0 and 1.
    for gate in ("f", "i"):
        assert (np.asarray(trace[gate]) <= 1 + 1e-6).all() and (np.asarray(trace[gate]) >= -1e-6).all()


def test_on_lstm_gates_are_within_0_and_1_whatever_the_sums_round_to():
    """The cumulative sum of a softmax over 100 levels ends at 1.0000002 as often as not."""
    cell = cells.on_lstm(100, chunk=1)
    params = cell.init(jax.random.key(0), D)
    _, _, trace = step_loop.run(cell, params, inputs())
    for name in ("f", "i", "f_master", "i_master"):
        gate = np.asarray(trace[name])
        assert gate.min() >= 0 and gate.max() <= 1, name


@pytest.mark.parametrize(("hidden", "chunk"), [(1150, 10), (200, 10), (9, 3), (7, 1), (8, 4), (2, 1)])
def test_on_lstm_chunk_by_default(hidden, chunk):
    shape = jax.eval_shape(lambda: cells.on_lstm(hidden).init(jax.random.key(0), 2)["w_h_master"]).shape
    assert shape == (hidden, 2, hidden // chunk)


@pytest.mark.parametrize("chunk", [4, 0, -2, 6, 2.5, "two"])
def test_on_lstm_refuses_a_chunk_that_does_not_divide(chunk):
    with pytest.raises(UserError, match="must divide hidden=6 into two chunks or more; allowed: 1, 2, 3"):
        cells.on_lstm(6, chunk=chunk)
    with pytest.raises(UserError, match="hidden=1 has no order"):
        cells.on_lstm(1)


# ---------------------------------------------------------------- SCRN


def test_scrn_context_is_the_exponential_average_of_the_projected_inputs():
    cell, params = made("scrn", context=3, alpha=0.8)
    carry, ys, trace = step_loop.run(cell, params, inputs(12))
    weights = 0.2 * 0.8 ** np.arange(11, -1, -1)
    expected = np.einsum("t,tbd,ds->bs", weights, inputs(12), params["w_x_s"])
    close((carry.s, ys[-1, :, H:]), (expected, expected))
    close(trace["f"], np.full((12, B, 3), 0.8))


def test_scrn_without_its_context_is_a_sigmoid_elman_network():
    cell, params = made("scrn", context=2)
    params = {**params, "w_s": jnp.zeros_like(params["w_s"])}
    h = np.zeros((B, H))
    _, ys, _ = step_loop.run(cell, params, inputs())
    for x, y in zip(inputs(), ys, strict=True):
        h = 1 / (1 + np.exp(-(x @ params["w_x"][:, 0] + h @ params["w_h"][:, 0] + params["b"][0])))
        close(y[:, :H], h)


def test_scrn_learns_alpha_from_where_the_fixed_one_stands():
    fixed, params = made("scrn", alpha=0.9)
    learned, more = made("scrn", alpha=0.9, alpha_trainable=True)
    assert set(more) - set(params) == {"alpha_logit"} and more["alpha_logit"].shape == (3,)
    close(step_loop.run(learned, more, inputs()), step_loop.run(fixed, params, inputs()))


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.5, 2, "high"])
def test_scrn_refuses_an_alpha_outside(alpha):
    with pytest.raises(UserError, match=r"alpha=.* is outside \(0, 1\); try 0.95"):
        cells.scrn(H, alpha=alpha)
    with pytest.raises(UserError, match="context must be a positive whole number"):
        cells.scrn(H, context=0)


# ---------------------------------------------------------------- minLSTM and minGRU


@pytest.mark.parametrize("form", ["chrono(50)", "timescale(3, 20)", "uniform", "2"])
def test_min_lstm_starts_with_the_retention_that_its_forget_bias_says(form):
    cell, params = made("min_lstm", forget_bias=form)
    _, _, trace = step_loop.run(cell, params, jnp.zeros((1, B, D)))
    i, f = (1 / (1 + np.exp(-np.asarray(params["b"][row], np.float64))) for row in (0, 1))
    close(trace["f"][0, 0], f / (f + i))
    if form.startswith("timescale"):
        close(trace["f"][0, 0], np.exp(-1 / np.repeat([3.0, 20.0], 3)))
    if form.startswith("chrono"):
        close(trace["f"][0, 0], f)


@pytest.mark.parametrize("name", ["min_lstm", "min_gru"])
def test_minimal_gates_share_out_one_whatever_the_input(name):
    cell, params = made(name)
    for scale in (1.0, 100.0, 1e6):
        _, ys, trace = step_loop.run(cell, params, scale * inputs())
        np.testing.assert_allclose(trace["f"] + trace["i"], 1.0, atol=1e-6)
        assert np.isfinite(ys).all() and np.isfinite(trace["f"]).all()


def test_minimal_candidates():
    a = jnp.array([-2.0, -1e-6, 0.0, 3.0])
    positive = cells.minimal.CANDIDATES["positive"](a)
    close(positive, [1 / (1 + np.exp(2.0)), 0.5, 0.5, 3.5])
    for name in ("min_lstm", "min_gru"):
        with pytest.raises(UserError, match=r"option candidate of cell .* 'relu'"):
            cells.make_cell(name, H, candidate="relu")


def test_minimal_cells_have_no_recurrent_weight_to_drop():
    cell, params = made("min_gru")
    assert set(params) == {"w_x", "b"}
    with pytest.raises(UserError, match="cell 'min_gru' has no parameter 'w_h'"):
        cells.weight_drop(cell, 0.5).prepare(params, inputs(), None)


# ---------------------------------------------------------------- sLSTM


@pytest.mark.parametrize("forget", ["sigmoid", "exp"])
def test_slstm_stays_finite_at_any_sum(forget):
    """At +-1e4 the unstabilised form is infinity over infinity, or 0 over 0."""
    cell, params = made("slstm", forget=forget, forget_bias=0.0)
    for shift in ([1e4, 0, 0, 0], [-1e4, 0, 0, 0], [0, 1e4, 0, 0], [0, -1e4, 0, 0], [-1e4, 1e4, 0, 0]):
        shifted = {**params, "b": jnp.array(shift)[:, None] * jnp.ones((4, H))}

        def total(p):
            carry, ys, trace = step_loop.run(cell, p, inputs())
            return jnp.sum(ys**2), (carry, ys, trace)

        gradients, (carry, ys, trace) = jax.grad(total, has_aux=True)(shifted)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((carry, ys, trace, gradients)))
        np.testing.assert_allclose((trace["f"] + trace["i"])[1:], 1.0, atol=1e-6)
        np.testing.assert_array_equal(trace["f"][0], 1.0)
        assert (np.asarray(carry.n) >= 1 - 1e-6).all() and (np.abs(trace["c"]) <= 1 + 1e-6).all()


def test_slstm_memory_does_not_depend_on_the_stabiliser():
    cell, params = made("slstm")
    start = random_state(cell, params)
    start = start._replace(n=1.0 + jnp.abs(start.n))
    scale = jnp.exp(-jnp.array(1.5))
    moved = start._replace(c=start.c * scale, n=start.n * scale, m=start.m + 1.5)
    close(step_loop.run(cell, params, inputs(), moved)[1], step_loop.run(cell, params, inputs(), start)[1])


def test_slstm_forget_gate_is_the_share_that_stays():
    cell, params = made("slstm")
    carry, _, trace = step_loop.run(cell, params, inputs())
    c = np.zeros((B, H))
    for t in range(T):
        c = trace["f"][t] * c + trace["i"][t] * trace["g"][t]
        close(trace["c"][t], c)
    close(carry.c / carry.n, c)


def test_slstm_powerlaw_and_unknown_forget_gates():
    params = made("slstm", forget_bias="powerlaw", layer=1, layers=2)[1]
    close(params["b"][1], 5 - 12 * (np.arange(H) / (H - 1)) ** 1.6)
    with pytest.raises(UserError, match="option forget of cell 'slstm' 'expo': did you mean 'exp'"):
        cells.slstm(H, forget="expo")


# ---------------------------------------------------------------- Mogrifier


def test_mogrifier_without_rounds_is_the_lstm():
    cell, params = made("mogrifier", rounds=0)
    lstm, same = made("lstm")
    jax.tree.map(np.testing.assert_array_equal, params, same)
    start = random_state(lstm, params)
    jax.tree.map(
        np.testing.assert_array_equal,
        step_loop.run(cell, params, inputs(), start),
        step_loop.run(lstm, same, inputs(), start),
    )
    assert cell.linear and cell.name == "mogrifier"


def test_mogrifier_of_zero_matrices_is_the_lstm():
    """2 sigmoid(0) = 1."""
    cell, params = made("mogrifier", forget_bias="chrono(9)", forget_bias_trainable=False)
    lstm, _ = made("lstm", forget_bias="chrono(9)", forget_bias_trainable=False)
    own = {"w_q", "w_r", "b_q", "b_r"}
    assert set(params) - own == {"w_x", "w_h", "b", "b_fixed"}
    still = {leaf: jnp.zeros_like(v) if leaf in own else v for leaf, v in params.items()}
    expected = step_loop.run(lstm, {leaf: v for leaf, v in params.items() if leaf not in own}, inputs())
    close(step_loop.run(cell, still, inputs()), expected)
    assert not np.allclose(step_loop.run(cell, params, inputs())[1], expected[1])


def test_mogrifier_of_full_rank_factors_is_that_of_their_product():
    low, factors = made("mogrifier", rounds=3, rank=5)
    full, _ = made("mogrifier", rounds=3)
    product = {leaf: v for leaf, v in factors.items() if not leaf.endswith("_up")}
    for leaf in ("w_q", "w_r"):
        product[leaf] = factors[leaf] @ factors[leaf + "_up"]
    assert factors["w_q"].shape == (2, H, 5) and factors["w_r_up"].shape == (1, 5, H)
    close(step_loop.run(low, factors, inputs())[1], step_loop.run(full, product, inputs())[1])


@pytest.mark.parametrize("bad", [dict(rounds=-1), dict(rounds=1.5), dict(rank=-2)])
def test_mogrifier_refuses_bad_numbers(bad):
    with pytest.raises(UserError, match=f"mogrifier: {next(iter(bad))}=.* must be a whole number, 0 or more"):
        cells.mogrifier(H, **bad)
