"""Gradients by lag against closed forms: a linear cell, and one gradient a time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import models, unroll
from lstm_jax.analysis import lags
from lstm_jax.cells import Cell


class Carry(NamedTuple):
    h: jax.Array


def linear_cell(rates):
    """h' = rates h + x."""

    def update(params, carry, z, r):
        h = z + r
        return Carry(h), h, {}

    return Cell(
        "linear",
        len(rates),
        init=lambda key, width: {"f": jnp.asarray(rates)},
        carry=lambda params, batch: Carry(jnp.zeros((batch, len(rates)))),
        prepare=lambda params, xs, key: (params, xs),
        recur=lambda params, carry: params["f"] * carry.h,
        update=update,
    )


def norms_of(rates, steps=12, batch=2, at=(11, 7), max_lag=8, weights=None):
    cell = linear_cell(rates)
    params = cell.init(None, len(rates))
    at = jnp.broadcast_to(jnp.asarray(at)[:, None], (len(at), batch))
    weights = jnp.ones(len(rates)) if weights is None else weights

    def losses(x):
        ys = unroll.unroll(cell, params, x).ys
        return jnp.take_along_axis(ys, at[..., None], axis=0) @ weights

    xs = jax.random.normal(jax.random.key(0), (steps, batch, len(rates)))
    return np.asarray(lags.gradient_norms(losses, xs, at, jnp.ones(at.shape, bool), max_lag))


def test_a_linear_cell_decays_exactly_and_the_fit_recovers_its_rate():
    norms = norms_of([0.8, 0.8], weights=jnp.asarray([3.0, 4.0]))
    expected = 5 * 0.8 ** np.arange(9)
    np.testing.assert_allclose(norms[:, 0, 0], expected, rtol=1e-5)
    np.testing.assert_array_equal(np.isnan(norms[:, 1, 0]), np.arange(9) > 7)  # step 7 has 7 before it
    np.testing.assert_allclose(norms[:8, 1, 1], expected[:8], rtol=1e-5)
    found = lags.by_lag(norms.reshape(9, -1))
    assert found.at_zero == pytest.approx(5) and found.samples.tolist() == [4] * 8 + [2]
    np.testing.assert_allclose(found.mean, 0.8 ** np.arange(9), rtol=1e-5)
    np.testing.assert_allclose(found.high, found.low, rtol=1e-5)
    fitted = lags.fit(found.mean, "exponential")
    assert fitted.parameter == pytest.approx(-1 / np.log(0.8), rel=1e-4)
    assert fitted.r2 == pytest.approx(1, abs=1e-6) and fitted.level == pytest.approx(1, rel=1e-4)
    assert lags.fit(found.mean, "power law").r2 < 0.99
    np.testing.assert_allclose(fitted.at(np.arange(1, 9)), found.mean[1:], rtol=1e-4)


def test_many_rates_together_are_a_power_law():
    """A density of decay rates s that is flat near 0 leaves sum exp(-s k) ~ 1 / k: here in closed form."""
    lag = np.arange(1, 60)
    found = lags.fit(np.concatenate([[1.0], 2.0 * lag**-1.5]), "power law")
    assert (found.parameter, found.level) == (pytest.approx(1.5), pytest.approx(2.0))
    assert (
        found.r2 == pytest.approx(1) and found.r2 > lags.fit(2.0 * np.arange(1, 61) ** -1.5, "exponential").r2
    )
    rates = np.exp(-np.linspace(0.001, 3, 400))
    mixture = np.array([np.sum(rates**k) for k in range(60)])
    power, exponential = (lags.fit(mixture, kind) for kind in ("power law", "exponential"))
    assert power.r2 > 0.98 > exponential.r2 and power.parameter == pytest.approx(1, abs=0.15)


def test_a_memory_that_never_fades_and_too_few_lags():
    assert lags.fit(np.ones(10), "exponential").parameter == np.inf
    assert lags.fit(np.array([1, 0.5, 0.2]), "exponential") is None
    assert lags.fit(np.array([1, 0.5, 0.25, 0.125, 0.0]), "exponential").r2 == pytest.approx(1)


def test_reach():
    mean = np.array([1, 0.2, 0.005, 0.05, 0.009])
    assert lags.reach(mean, 0.1) == 2 and lags.reach(mean, 0.01) == 4 and lags.reach(mean, 0.001) is None


def test_all_at_once_is_one_gradient_a_time():
    """Through a real model, by embeddings in place of tokens: as jax.grad of each loss by itself."""
    model = models.recurrent(vocab=7, outputs=7, hidden=(5, 4), embedding=4, tied=True, init="uniform(0.9)")
    params = model.init(jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (9, 2), 0, 7)
    embedded = params["embedding"][tokens]
    whole = model.apply(params, tokens, model.carry(params, 2))
    again = model.apply(params, embedded, model.carry(params, 2))
    np.testing.assert_array_equal(whole.logits, again.logits)

    def loss_at(x, step, row):
        return jax.nn.logsumexp(model.apply(params, x, model.carry(params, 2)).logits[step, row])

    at = jnp.asarray([[8, 6], [4, 5]])

    def losses(x):
        logits = model.apply(params, x, model.carry(params, 2)).logits
        return jax.nn.logsumexp(jnp.take_along_axis(logits, at[..., None], axis=0), axis=-1)

    real = jnp.asarray([[True, True], [False, True]])
    found = np.asarray(lags.gradient_norms(losses, embedded, at, real, 6))
    assert np.isnan(found[:, 1, 0]).all()
    for m, row in ((0, 0), (0, 1), (1, 1)):
        step = int(at[m, row])
        gradient = np.asarray(jax.grad(loss_at)(embedded, step, row))[:, row]
        expected = [np.linalg.norm(gradient[step - k]) if step >= k else np.nan for k in range(7)]
        np.testing.assert_allclose(found[:, m, row], expected, rtol=2e-5)


def test_the_figure_shows_both_fits_and_names_its_axes(tmp_path):
    found = lags.by_lag(norms_of([0.9, 0.5]).reshape(9, -1))
    fits = [lags.fit(found.mean, kind) for kind in ("exponential", "power law")]
    figure = lags.figure(found, fits, before=found, unit="tokens", title="a run")
    figure.savefig(tmp_path / "x.png")
    linear, logarithmic = figure.axes
    assert linear.get_yscale() == "log" and logarithmic.get_xscale() == "log"
    assert linear.get_xlabel() == logarithmic.get_xlabel() == "lag k (tokens)"
    assert linear.get_ylabel() == "gradient norm G(k) / G(0)"
    labels = [text.get_text() for axes in figure.axes for text in axes.get_legend().get_texts()]
    assert sum("exponential, tau" in label for label in labels) == 1
    assert sum("power law, p" in label for label in labels) == 1
    (trained,) = (line for line in linear.get_lines() if line.get_label() == "trained")
    np.testing.assert_allclose(trained.get_ydata(), found.mean)
