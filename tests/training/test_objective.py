"""The objective against autodiff in float64, finite differences, and sums written out in NumPy."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax.models.loss import cross_entropy
from lstm_jax.support.errors import UserError
from lstm_jax.tasks.base import Batch
from lstm_jax.training import objective

T, B, H, V = 5, 3, 4, 7


def naive(logits, targets):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], -1)[..., 0]


def drawn(shape=(T, B), classes=V, seed=0, scale=3.0):
    rng = np.random.default_rng(seed)
    return scale * rng.normal(size=(*shape, classes)), rng.integers(0, classes, shape), rng.normal(size=shape)


@pytest.mark.parametrize("shape", [(6,), (T, B), (2, 3, 2), ()])
def test_cross_entropy_equals_autodiff_of_log_softmax_in_float64(shape):
    logits, targets, weights = drawn(shape)
    with jax.enable_x64(True):
        logits, targets, weights = jnp.asarray(logits), jnp.asarray(targets), jnp.asarray(weights)
        assert logits.dtype == jnp.float64
        value, pull = jax.vjp(lambda l: cross_entropy(l, targets), logits)
        value_, pull_ = jax.vjp(lambda l: naive(l, targets), logits)
        np.testing.assert_allclose(value, value_, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(pull(weights)[0], pull_(weights)[0], rtol=1e-12, atol=1e-12)


def test_cross_entropy_gradient_equals_finite_differences():
    logits, targets, weights = drawn()
    with jax.enable_x64(True):

        def f(l):
            return (weights * cross_entropy(l, jnp.asarray(targets))).sum()

        gradient = jax.grad(f)(jnp.asarray(logits))
        step = 1e-5
        for index in np.ndindex(2, 2, V):
            bump = np.zeros_like(logits)
            bump[index] = step
            slope = (f(jnp.asarray(logits + bump)) - f(jnp.asarray(logits - bump))) / (2 * step)
            np.testing.assert_allclose(gradient[index], slope, rtol=1e-7, atol=1e-9)


def test_cross_entropy_in_float32_is_near_float64():
    logits, targets, weights = drawn()
    value, pull = jax.vjp(lambda l: cross_entropy(l, jnp.asarray(targets)), jnp.float32(logits))
    assert value.dtype == jnp.float32
    with jax.enable_x64(True):
        value_, pull_ = jax.vjp(lambda l: naive(l, jnp.asarray(targets)), jnp.asarray(logits))
        expected = np.asarray(pull_(jnp.asarray(weights))[0])
    # Values up to ~15 built of a few float32 roundings of 6e-8 each.
    np.testing.assert_allclose(value, value_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(pull(jnp.float32(weights))[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_cross_entropy_computes_in_float32_whatever_comes_in(dtype):
    logits, targets, _ = drawn()
    narrow = jnp.asarray(logits, dtype)
    value, pull = jax.vjp(lambda l: cross_entropy(l, jnp.asarray(targets)), narrow)
    wide, pull_ = jax.vjp(lambda l: cross_entropy(l, jnp.asarray(targets)), narrow.astype(jnp.float32))
    np.testing.assert_array_equal(value, wide)
    gradient = pull(jnp.ones_like(value))[0]
    assert value.dtype == jnp.float32 and gradient.dtype == dtype
    np.testing.assert_array_equal(gradient, pull_(jnp.ones_like(wide))[0].astype(dtype))


def test_cross_entropy_of_extreme_logits():
    logits = jnp.float32([[3e38, 0, -3e38], [1e4, 1e4, -1e4], [-1e6, -1e6, -1e6], [0, -jnp.inf, 0]])
    targets = jnp.array([0, 1, 2, 2])
    value, pull = jax.vjp(lambda l: cross_entropy(l, targets), logits)
    np.testing.assert_allclose(value, [0, np.log(2), np.log(3), np.log(2)], rtol=1e-6)
    expected = [[0, 0, 0], [0.5, -0.5, 0], [1 / 3, 1 / 3, -2 / 3], [0.5, 0, -0.5]]
    np.testing.assert_allclose(pull(jnp.ones(4))[0], expected, rtol=1e-6, atol=1e-7)
    # A certain miss costs the distance in logits, not infinity.
    assert cross_entropy(jnp.float32([0, -1e4]), jnp.array(1)) == 1e4


def test_cross_entropy_keeps_a_small_loss_on_a_large_offset():
    # log(total) is added to (top - chosen), not to top: 1e4 in float32 resolves only 1e-3.
    shifted = cross_entropy(jnp.float32([1e4, 1e4 - 8]), jnp.array(0))
    np.testing.assert_allclose(shifted, np.log1p(np.exp(-8.0)), rtol=1e-3)


@pytest.mark.parametrize("target", [-1, V, -100, 10**6])
def test_a_target_out_of_range_is_nan_not_another_class(target):
    logits, _, _ = drawn((2,))
    value = cross_entropy(jnp.float32(logits), jnp.array([target, 0]))
    assert np.isnan(value[0]) and np.isfinite(value[1])


def test_nan_logits_are_not_hidden():
    logits = jnp.zeros((2, V)).at[0, 3].set(jnp.nan)
    value, pull = jax.vjp(lambda l: cross_entropy(l, jnp.array([0, 0])), logits)
    assert np.isnan(value[0]) and np.isfinite(value[1])
    assert np.isnan(pull(jnp.ones(2))[0][0]).all()


def test_cross_entropy_under_vmap_and_jit():
    logits, targets, _ = drawn()
    logits, targets = jnp.float32(logits), jnp.asarray(targets)
    whole = jax.grad(lambda l: cross_entropy(l, targets).sum())(logits)
    member = jax.jit(jax.vmap(jax.grad(lambda l, y: cross_entropy(l, y).sum())))(logits, targets)
    np.testing.assert_allclose(member, whole, rtol=1e-6, atol=1e-7)


# -- loss ----------------------------------------------------------------------------------------------


def window(seed=0, **fields):
    rng = np.random.default_rng(seed)
    outputs = SimpleNamespace(
        logits=jnp.float32(rng.normal(size=(T, B, V))),
        hidden=jnp.float32(rng.normal(size=(T, B, H))),
        dropped=jnp.float32(rng.normal(size=(T, B, H))),
    )
    batch = Batch(jnp.zeros((T, B), jnp.int32), jnp.asarray(rng.integers(0, V, (T, B))), **fields)
    params = {
        "embedding": jnp.float32(rng.normal(size=(3, 2))),
        "layers": ({"w_h": jnp.float32(rng.normal(size=(2, 2))), "b_fixed": jnp.float32([5.0, 6.0])},),
    }
    return outputs, batch, params


def nats(logits, batch):
    return cross_entropy(logits, batch.targets)


def run(outputs, batch, params, **options):
    return objective.loss(outputs, batch, params, task_loss=nats, **options)


MASKS = {
    "none": {},
    "weights": {"weights": jnp.float32(np.random.default_rng(5).integers(0, 2, (T, B)))},
    "lengths": {"lengths": jnp.array([5, 1, 3])},
    "resets": {"resets": jnp.asarray(np.random.default_rng(6).integers(0, 2, (T, B)).astype(bool))},
}
MASKS["all"] = {**MASKS["weights"], **MASKS["lengths"], **MASKS["resets"]}


@pytest.mark.parametrize("masks", MASKS)
def test_terms_equal_loops_over_scored_steps(masks):
    outputs, batch, params = window(**MASKS[masks])
    _, terms = run(outputs, batch, params, ar=2.0, tar=1.5)
    values = np.asarray(nats(outputs.logits, batch), np.float64)
    hidden, dropped = np.float64(outputs.hidden), np.float64(outputs.dropped)

    def scored(t, b):
        fields = MASKS[masks]
        weighted = "weights" not in fields or fields["weights"][t, b] > 0
        return weighted and ("lengths" not in fields or t < fields["lengths"][b])

    def joined(t, b):
        reset = "resets" in MASKS[masks] and MASKS[masks]["resets"][t + 1, b]
        return scored(t, b) and scored(t + 1, b) and not reset

    steps = [(t, b) for t in range(T) for b in range(B) if scored(t, b)]
    pairs = [(t, b) for t in range(T - 1) for b in range(B) if joined(t, b)]
    assert steps and pairs
    np.testing.assert_allclose(terms["task"], np.mean([values[at] for at in steps]), rtol=1e-6)
    np.testing.assert_allclose(terms["ar"], 2 * np.mean([dropped[at] ** 2 for at in steps]), rtol=1e-6)
    change = [(hidden[t + 1, b] - hidden[t, b]) ** 2 for t, b in pairs]
    np.testing.assert_allclose(terms["tar"], 1.5 * np.mean(change), rtol=1e-6)
    np.testing.assert_allclose(terms["loss"], terms["task"] + terms["ar"] + terms["tar"], rtol=1e-6)
    count = objective.counts(batch)
    assert (count.tokens, count.pairs) == (len(steps), len(pairs))


@pytest.mark.parametrize("over_time", objective.OVER_TIME)
def test_masked_steps_get_no_gradient_and_their_nan_is_ignored(over_time):
    lengths = jnp.array([5, 1, 3])
    outputs, batch, params = window(lengths=lengths)

    def f(arrays):
        return run(SimpleNamespace(**arrays), batch, params, ar=1.0, tar=1.0, over_time=over_time)[0]

    arrays = vars(outputs)
    padding = np.arange(T)[:, None] >= np.asarray(lengths)
    for name, gradient in jax.grad(f)(arrays).items():
        assert not np.asarray(gradient)[padding].any(), name
        assert np.asarray(gradient)[~padding].any(-1).sum() >= (~padding).sum() - 1, name
    # An unused target may hold a padding id, which is out of range: NaN times a weight of 0 must not show.
    clean = f(arrays)
    batch = batch._replace(targets=jnp.where(padding, -1, batch.targets))
    assert f(arrays) == clean and np.isfinite(clean)


def test_sum_is_the_mean_over_the_batch_summed_over_time():
    outputs, batch, params = window()
    mean, terms = run(outputs, batch, params)
    total, terms_ = run(outputs, batch, params, over_time="sum")
    by_hand = sum(np.asarray(nats(outputs.logits, batch))[t].mean() for t in range(T))
    np.testing.assert_allclose(total, by_hand, rtol=1e-6)
    np.testing.assert_allclose(total, T * mean, rtol=1e-6)
    assert terms["task"] == terms_["task"]  # reported per token either way


def test_sum_scales_the_activation_terms_but_not_the_weight_penalties():
    outputs, batch, params = window(lengths=jnp.array([5, 2, 2]))
    options = {"ar": 2.0, "tar": 1.0, "l1": 0.1, "l2": 0.2}
    mean, terms = run(outputs, batch, params, **options)
    total, _ = run(outputs, batch, params, over_time="sum", **options)
    penalties = terms["l1"] + terms["l2"]
    np.testing.assert_allclose(total - penalties, (mean - penalties) * (5 + 2 + 2) / B, rtol=1e-5)


def test_weight_penalties_closed_form_gradient_and_fixed_leaves():
    outputs, batch, params = window()
    free = np.concatenate([np.ravel(params["embedding"]), np.ravel(params["layers"][0]["w_h"])])
    _, terms = run(outputs, batch, params, l1=0.1, l2=0.2)
    np.testing.assert_allclose(terms["l1"], 0.1 * np.abs(free).sum(), rtol=1e-6)
    np.testing.assert_allclose(terms["l2"], 0.1 * (free**2).sum(), rtol=1e-6)
    gradient = jax.grad(lambda p: run(outputs, batch, p, l1=0.1, l2=0.2)[0])(params)
    weight = np.asarray(params["embedding"])
    np.testing.assert_allclose(gradient["embedding"], 0.1 * np.sign(weight) + 0.2 * weight, rtol=1e-6)
    assert not gradient["layers"][0]["b_fixed"].any()


def test_penalty_mask_chooses_by_name():
    outputs, batch, params = window()
    _, terms = run(outputs, batch, params, l2=0.2, penalty_mask=("embedding",))
    np.testing.assert_allclose(terms["l2"], 0.1 * np.square(params["embedding"]).sum(), rtol=1e-6)
    with pytest.raises(UserError, match="embeding"):
        run(outputs, batch, params, l2=0.2, penalty_mask=("embeding",))


@pytest.mark.parametrize("penalty", ["gradient", "decoupled"])
def test_penalties_of_the_optimizer_are_reported_but_not_differentiated(penalty):
    outputs, batch, params = window()
    inside, terms = run(outputs, batch, params, l1=0.1, l2=0.2)
    value, terms_ = run(outputs, batch, params, l1=0.1, l2=0.2, penalty=penalty)
    assert terms["l1"] == terms_["l1"] > 0 and terms["l2"] == terms_["l2"] > 0
    np.testing.assert_allclose(inside - value, terms["l1"] + terms["l2"], rtol=1e-5)
    gradient = jax.grad(lambda p: run(outputs, batch, p, l1=0.1, l2=0.2, penalty=penalty)[0])(params)
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))


def test_ar_reads_dropped_and_tar_reads_hidden():
    outputs, batch, params = window()
    gradient = jax.grad(lambda a: run(SimpleNamespace(**a), batch, params, ar=1.0)[0])(vars(outputs))
    assert gradient["dropped"].any() and not gradient["hidden"].any()
    gradient = jax.grad(lambda a: run(SimpleNamespace(**a), batch, params, tar=1.0)[0])(vars(outputs))
    assert gradient["hidden"].any() and not gradient["dropped"].any()


def test_shares_of_unequal_devices_average_to_the_whole():
    """As under pmap: pmean of the counts, then pmean of the losses and gradients."""
    lengths = jnp.array([5, 1])
    outputs, batch, params = window(lengths=jnp.array([5, 1, 3]))
    options = {"ar": 2.0, "tar": 1.0, "l2": 0.3}
    for over_time in objective.OVER_TIME:
        halves = []
        for b in (0, 1):
            part = SimpleNamespace(**{k: v[:, b : b + 1] for k, v in vars(outputs).items()})
            fields = {"lengths": lengths[b : b + 1], "targets": batch.targets[:, b : b + 1]}
            halves.append((part, batch._replace(inputs=batch.inputs[:, :1], **fields)))
        counts = [objective.counts(share) for _, share in halves]
        count = jax.tree.map(lambda x, y: (x + y) / 2, *counts)

        def f(p, o, share, count=count, over_time=over_time):
            return run(o, share, p, count=count, over_time=over_time, **options)[0]

        whole_outputs = SimpleNamespace(**{k: v[:, :2] for k, v in vars(outputs).items()})
        whole = batch._replace(inputs=batch.inputs[:, :2], targets=batch.targets[:, :2], lengths=lengths)
        got = sum(f(params, o, share) for o, share in halves) / 2
        np.testing.assert_allclose(got, f(params, whole_outputs, whole, None), rtol=1e-6)
        grads = [jax.grad(f)(params, o, share) for o, share in halves]
        mean = jax.tree.map(lambda x, y: (x + y) / 2, *grads)
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6),
            mean,
            jax.grad(f)(params, whole_outputs, whole, None),
        )


def test_coefficients_may_be_traced_without_recompiling():
    outputs, batch, params = window()
    traces = []

    @jax.jit
    def f(arrays, params, coefficients):
        traces.append(1)
        return run(SimpleNamespace(**arrays), batch, params, **coefficients)[1]

    for scale in (0.0, 1.0, 2.0):
        terms = f(vars(outputs), params, dict.fromkeys(("ar", "tar", "l1", "l2"), jnp.float32(scale)))
        expected = run(outputs, batch, params, ar=scale, tar=scale, l1=scale, l2=scale)[1]
        for name, value in expected.items():
            np.testing.assert_allclose(terms[name], value, rtol=1e-6, err_msg=name)
    assert len(traces) == 1


@pytest.mark.parametrize("length", [0, 1])
def test_no_scored_step_or_pair_is_zero_not_nan(length):
    outputs, batch, params = window(lengths=jnp.full(B, length))
    value, terms = run(outputs, batch, params, ar=1.0, tar=1.0)
    assert np.isfinite(value) and terms["tar"] == 0
    assert (terms["task"] == 0) == (length == 0)


@pytest.mark.parametrize("options", [{"over_time": "summ"}, {"penalty": "decoupledd"}])
def test_unknown_conventions_are_refused(options):
    with pytest.raises(UserError, match="did you mean"):
        run(*window(), **options)
