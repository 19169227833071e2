"""The properties that a cell of one's own is checked by: each lets a good cell pass and finds its fault."""

import jax
import jax.numpy as jnp
import pytest

from lstm_jax import cells
from lstm_jax.cells.gated import gated, split_gates
from lstm_jax.cells.lstm import LSTMCarry
from lstm_jax.support.errors import UserError
from lstm_jax.unroll import properties

H = 4


def leaky(hidden, *, init="lecun", dtype=jnp.float32):
    def update(params, carry, z, r):
        f, g = split_gates(z + r)
        c = jax.nn.sigmoid(f) * carry.c + (1 - jax.nn.sigmoid(f)) * jnp.tanh(g)
        return LSTMCarry(c, c.astype(dtype)), c.astype(dtype), {"f": jax.nn.sigmoid(f), "c": c}

    return gated("leaky", hidden, 2, LSTMCarry, update, init=init, dtype=dtype)


def looks_ahead(cell):
    def prepare(params, xs, key):
        params, zs = cell.prepare(params, xs, key)
        return params, zs + zs[::-1]

    return cell._replace(prepare=prepare)


def counts_steps(cell):
    """Its place in the window is an input."""

    def prepare(params, xs, key):
        params, zs = cell.prepare(params, xs, key)
        return params, zs + jnp.arange(len(zs), dtype=zs.dtype)[:, None, None, None]

    return cell._replace(prepare=prepare)


def updating(change):
    def wrap(cell):
        return cell._replace(update=lambda *args: change(*cell.update(*args)))

    return wrap


def averages(carry, y, trace):
    return carry._replace(h=carry.h - carry.h.mean(0)), y, trace


def by_batch(carry, y, trace):
    return carry, y / y.shape[0], trace


def rolls(carry, y, trace):
    return carry._replace(c=jnp.roll(carry.c, 1, -1)), y, trace


def narrows(carry, y, trace):
    return carry._replace(c=carry.c.astype(jnp.bfloat16)), y, trace


def bends(cell):
    """Its recur is not linear, and it says so not."""
    return cell._replace(recur=lambda params, carry: jnp.tanh(cell.recur(params, carry)))


def counts_calls(cell):
    """Not pure: its update is another one each time that Python runs it."""
    calls = []

    def recur(params, carry):
        calls.append(1)
        return cell.recur(params, carry) * len(calls)

    return cell._replace(recur=recur)


FAULTS = {
    "causal": looks_ahead,
    "windows": counts_steps,
    "resets": counts_steps,
    "batch": updating(averages),
    "lengths": updating(by_batch),
    "pointwise": updating(rolls),
    "shapes": updating(narrows),
    "linear": bends,
    "scan": counts_calls,
    "trainable": lambda cell: cell._replace(
        prepare=lambda p, xs, k: cell.prepare(jax.lax.stop_gradient(p), xs, k)
    ),
}


@pytest.fixture(scope="module")
def given():
    return properties.setting(leaky(H))


def test_a_good_cell_has_every_property():
    found = properties.check(leaky(H))
    assert found == dict.fromkeys(properties.PROPERTIES)
    assert properties.report(found).count("holds") == len(properties.PROPERTIES)


@pytest.mark.parametrize("name", properties.PROPERTIES)
def test_a_fault_is_found(name, given):
    broken = FAULTS[name](leaky(H))
    assert properties.PROPERTIES[name].seen(broken, given)


def test_what_a_cell_does_not_claim_is_not_asked_and_what_it_raises_is_told():
    plain = leaky(H)._replace(linear=False, pointwise=False)
    assert not {"linear", "pointwise"} & set(properties.check(plain._replace(init=lambda key, dim: {})))
    found = properties.check(plain._replace(init=lambda key, dim: {}))
    assert found == {"shapes": "it raised KeyError: 'w_x'"}
    assert "FAILS  shapes" in properties.report(found)


def test_difference_names_the_leaf_that_is_furthest_off():
    one = {"a": jnp.ones(3), "b": jnp.zeros(2)}
    assert properties.difference(one, one) is None
    assert properties.difference({"a": jnp.ones(3), "b": jnp.full(2, 0.5)}, one).startswith("['b'] has 0.5")
    assert "nan" in properties.difference({"a": jnp.full(3, jnp.nan), "b": jnp.zeros(2)}, one)
    assert "in place of" in properties.difference({"a": jnp.ones(3)}, one)
    assert "shape" in properties.difference({"a": jnp.ones(2), "b": jnp.zeros(2)}, one)


def test_a_registered_cell_is_found_by_its_name_and_needs_no_forget_bias(monkeypatch):
    monkeypatch.setattr(cells, "CELLS", dict(cells.CELLS))
    monkeypatch.setattr(cells, "NO_FORGET_BIAS", set(cells.NO_FORGET_BIAS))
    assert cells.register(leaky) is leaky
    cells.register(leaky)  # a notebook's cell that is run again
    made = cells.make_cell("leaky", H, init="torch", forget_bias="1", forget_bias_trainable=True)
    assert made.name == "leaky" and made.output_dim == H
    with pytest.raises(UserError, match="cell of the package"):
        cells.register(cells.lstm)
    with pytest.raises(UserError, match="takes no init, dtype"):
        cells.register(lambda hidden: leaky(hidden))
