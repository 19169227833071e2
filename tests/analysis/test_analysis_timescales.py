"""Time scales against their closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax.analysis import timescales

REAL = jnp.ones((5, 2), bool)


def scales_of(f, real=REAL):
    return timescales.time_scales(timescales.forget_sums(jnp.asarray(f, jnp.float32), real))


def test_a_constant_gate_has_the_time_scale_of_its_decay():
    rates = np.array([0.5, 0.9, 0.999])
    found = scales_of(np.broadcast_to(rates, (5, 2, 3)))
    for scale in found:
        np.testing.assert_allclose(scale, -1 / np.log(rates), rtol=2e-4)  # 0.999 has 13 bits left for 1 - f
    left = rates**7  # of a memory after seven steps
    np.testing.assert_allclose(np.exp(-7 / found.product), left, rtol=1e-6)


def test_both_forms_over_a_gate_that_varies():
    f = np.random.default_rng(0).uniform(0.05, 1, (5, 2, 4))
    found = scales_of(f)
    np.testing.assert_allclose(found.product, -1 / np.log(f).mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(found.mean, -1 / np.log(f.mean((0, 1))), rtol=1e-5)
    assert np.all(found.mean > found.product)  # Jensen
    left = np.prod(f, axis=(0, 1))  # what ten steps leave, exactly
    np.testing.assert_allclose(np.exp(-10 / found.product), left, rtol=1e-5)


def test_steps_that_are_not_real_do_not_count_and_sums_add_up():
    f = np.random.default_rng(1).uniform(0.1, 0.9, (5, 2, 3))
    real = np.array([[1, 1], [1, 1], [1, 0], [1, 0], [1, 0]], bool)
    found = scales_of(np.where(real[..., None], f, 0.0), jnp.asarray(real))
    np.testing.assert_allclose(found.product, -1 / np.log(f[real]).mean(0), rtol=1e-5)
    parts = [timescales.forget_sums(jnp.asarray(f[t], jnp.float32), REAL[t]) for t in (slice(2), slice(2, 5))]
    both = {name: np.asarray(parts[0][name]) + np.asarray(parts[1][name]) for name in parts[0]}
    np.testing.assert_allclose(timescales.time_scales(both).product, scales_of(f).product, rtol=1e-6)


def test_gates_at_the_ends():
    found = scales_of(np.broadcast_to([0.0, 1.0, 2.0], (5, 2, 3)))  # 2: exponential gates reach beyond 1
    assert found.product.tolist()[1:] == [np.inf, np.inf] and found.mean.tolist()[1:] == [np.inf, np.inf]
    assert 0 < found.product[0] < 0.02 and found.mean[0] == 0


@pytest.mark.parametrize(("bias", "steps"), [(0, 1.44), (1, 3.19), (2, 7.88), (3, 20.6), (5, 148.9)])
def test_the_time_scale_of_a_bias_alone(bias, steps):
    assert timescales.from_bias(bias) == pytest.approx(steps, rel=3e-3)
    assert timescales.from_bias(bias) == pytest.approx(-1 / np.log(1 / (1 + np.exp(-bias))))


def test_the_figure_draws_every_unit_and_names_its_axes(tmp_path):
    layers = [
        {name: timescales.TimeScales(np.array([1.0, 4.0, np.inf]) * k, np.array([2.0, 5.0, np.inf]) * k)
         for k, name in ((1, "at initialisation"), (3, "trained"))}
        for _ in range(3)
    ]  # fmt: skip
    figure = timescales.figure(layers, unit="tokens", title="a run")
    figure.savefig(tmp_path / "x.png")
    panels = [axes for axes in figure.axes if axes.get_lines()]
    assert len(panels) == 3
    lines = {line.get_label(): line.get_xydata() for line in panels[0].get_lines()}
    np.testing.assert_allclose(lines["trained"], [[3, 0], [3, 1 / 3], [12, 2 / 3]])
    np.testing.assert_allclose(lines["trained, by mean f"], [[6, 0], [6, 1 / 3], [15, 2 / 3]])
    assert panels[2].get_xlabel() == "time scale T (tokens)" and "share of units" in panels[0].get_ylabel()
