"""Saturation of gates against counts by hand."""

import jax.numpy as jnp
import numpy as np

from lstm_jax.analysis import saturation


def test_fractions_of_known_gates():
    gate = np.array([[0.05, 0.95, 0.5], [0.05, 0.95, 0.05], [0.1, 0.9, 0.95], [0.0, 1.0, 0.5]])[:, None]
    sums = saturation.saturation_sums(jnp.asarray(gate), jnp.ones((4, 1), bool))
    low, high = saturation.fractions({name: np.asarray(value) for name, value in sums.items()})
    np.testing.assert_allclose(low, [0.75, 0, 0.25])  # the thresholds themselves do not count
    np.testing.assert_allclose(high, [0, 0.75, 0.25])


def test_steps_that_are_not_real_do_not_count():
    gate = np.array([[[0.0]], [[0.0]], [[0.5]], [[0.0]]])
    real = jnp.asarray([[True], [False], [True], [True]])
    low, high = saturation.fractions(saturation.saturation_sums(jnp.asarray(gate), real))
    np.testing.assert_allclose([low[0], high[0]], [2 / 3, 0])


def test_gates_are_told_from_candidates_and_states():
    draw = np.random.default_rng(0)
    between = jnp.asarray(draw.uniform(0, 1, (6, 2, 3)))
    trace = {
        "o": between,
        "g": between,
        "c": between - 0.5,
        "f": between,
        "n": 3 * between,
        "zero": 0 * between,
    }
    others = {"matrix": between[..., None], "attention": between}  # of the slots of a memory, not of units
    assert saturation.sigmoid_gates(trace | others) == ["f", "o"]


def test_the_figure_has_a_point_a_unit(tmp_path):
    layers = [
        {"i": (np.array([0.1, 0.2]), np.array([0.3, 0.0])), "f": (np.zeros(2), np.ones(2))},
        {"f": (np.array([0.5, 0.5, 0.5]), np.zeros(3))},
    ]
    figure = saturation.figure(layers, title="a run")
    figure.savefig(tmp_path / "x.png")
    i, f = (axes for axes in figure.axes if axes.get_visible())
    np.testing.assert_allclose(i.collections[0].get_offsets(), [[0.1, 0.3], [0.2, 0.0]])
    assert [len(points.get_offsets()) for points in f.collections] == [2, 3]
    assert i.get_xlabel() == "share of steps below 0.1" and i.get_ylabel() == "share of steps above 0.9"
