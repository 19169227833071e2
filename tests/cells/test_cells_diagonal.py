"""Heads of the input projection, and starts of diagonal recurrent weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_jax import cells
from lstm_jax.support.errors import UserError
from tests import oracles, step_loop

NAMES = ("para_lstm", "para_gru", "indrnn")
B, D, H = 2, 4, 6


@pytest.mark.parametrize("name", NAMES)
def test_heads_equal_the_oracle_and_join_part_with_part(name):
    cell = cells.make_cell(name, H, heads=2, init="uniform(0.6)")
    params = cell.init(jax.random.key(1), D)
    assert params["w_x"].shape == (D // 2, *params["w_h"].shape)
    xs = jax.random.normal(jax.random.key(2), (3, B, D))
    start = cell.carry(params, B)
    carry, ys, trace = step_loop.run(cell, params, xs, start)
    jax.tree.map(
        lambda a, d: np.testing.assert_allclose(a, d, rtol=2e-5, atol=2e-6),
        (carry._asdict(), ys, trace),
        oracles.run(name, params, start, xs),
    )
    moved = step_loop.run(cell, params, xs.at[:, :, 0].add(1.0), start)[1] != ys
    assert moved[..., : H // 2].any() and not moved[..., H // 2 :].any()


@pytest.mark.parametrize("name", NAMES)
def test_heads_that_do_not_divide_are_refused(name):
    with pytest.raises(UserError, match="heads must be a whole number that divides hidden = 6, not 4"):
        cells.make_cell(name, H, heads=4)
    with pytest.raises(UserError, match="heads = 3 does not divide its input's width D = 4"):
        cells.make_cell(name, H, heads=3).init(jax.random.key(0), D)


def test_diagonal_weights_start_mostly_below_one():
    w_h = np.asarray(cells.para_lstm(4000).init(jax.random.key(0), 3)["w_h"])
    np.testing.assert_allclose(w_h.std(), 3**-0.5, rtol=0.03)
    u = np.asarray(cells.indrnn(4000, steps=2).init(jax.random.key(0), 3)["w_h"])
    assert 0.0 <= u.min() < 0.01 and 1.41 < u.max() <= 2.0**0.5
    with pytest.raises(UserError, match="steps must be 0 or more"):
        cells.indrnn(4, steps=-1)
    assert jnp.max(cells.indrnn(400).init(jax.random.key(0), 3)["w_h"]) <= 1.0


def test_without_peephole_and_recurrence_the_para_gru_is_a_minimal_gru_of_tanh():
    """With w = 0, h' = (1 - z) n + z h: `min_gru` with z for 1 - i."""
    cell, minimal = cells.para_gru(H), cells.min_gru(H, candidate="tanh")
    params = cell.init(jax.random.key(1), D)
    xs = jax.random.normal(jax.random.key(2), (5, B, D))
    ys = step_loop.run(cell, params | {"w_h": jnp.zeros_like(params["w_h"])}, xs)[1]
    signs = jnp.array([-1.0, 1.0])[:, None]
    same = {"w_x": params["w_x"][:, 1:] * signs, "b": params["b"][1:] * signs}
    np.testing.assert_allclose(ys, step_loop.run(minimal, same, xs)[1], rtol=2e-5, atol=2e-6)
