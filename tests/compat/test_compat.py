"""Weights in and out: round trips, refusals that name the leaf, and any Cell inside linen.RNN."""

import inspect
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstm_jax import cells
from lstm_jax.compat import linen as linen_layout
from lstm_jax.compat import nnx as nnx_layout
from lstm_jax.compat import torch as torch_layout
from lstm_jax.compat.leaves import LAYOUTS
from lstm_jax.compat.linen import LinenCell, cell_from_linen, cell_to_linen
from lstm_jax.compat.nnx import NnxCell, cell_from_nnx, cell_to_nnx
from lstm_jax.compat.torch import layers_from_torch, layers_to_torch
from lstm_jax.support.errors import UserError
from tests import step_loop

T, B, D, H = 5, 3, 4, 6


def parameters(seed=0, input_dim=D, **options):
    return cells.lstm(H, init="uniform(0.5)", **options).init(jax.random.key(seed), input_dim)


def close(actual, desired):
    np.testing.assert_allclose(actual, desired, rtol=1e-5, atol=1e-6)


ROUND_TRIPS = {
    "linen": lambda p: cell_from_linen(cell_to_linen(p), input_dim=D, hidden=H),
    "nnx": lambda p: cell_from_nnx(cell_to_nnx(p), input_dim=D, hidden=H),
    "torch": lambda p: layers_from_torch(layers_to_torch([p]), input_dim=D, hidden=H)[0],
}


def through_torch(params, cell):
    width = params["w_p"].shape[1] if "w_p" in params else None
    state = layers_to_torch([params], cell)
    return layers_from_torch(state, input_dim=D, hidden=H, cell=cell, projection=width)[0]


def through_linen(params, cell):
    return cell_from_linen(cell_to_linen(params, cell), input_dim=D, hidden=H, cell=cell)


def through_nnx(params, module):
    return cell_from_nnx(cell_to_nnx(params, module), input_dim=D, hidden=H, module=module)


WAYS = [
    *((through_torch, cell, cell) for cell in torch_layout.MODULES),
    *((through_linen, cell, cell) for cell in linen_layout.CELLS),
    *((through_nnx, module, cell) for module, cell in nnx_layout.CELLS.items()),
]


@pytest.mark.parametrize(("way", "name", "cell"), WAYS, ids=lambda v: getattr(v, "__name__", v))
def test_round_trip_is_exact(way, name, cell):
    params = cells.make_cell(cell, H, init="uniform(0.5)").init(jax.random.key(0), D)
    if way is through_nnx and cell == "gru":
        with pytest.raises(UserError, match=r"b_h of shape \(6,\) is not zero, and nnx.GRUCell has no recur"):
            way(params, name)
        params["b_h"] = jnp.zeros(H)
    back = way(params, name)
    assert set(back) == set(params)
    for leaf in params:
        assert back[leaf].dtype == np.float32
        np.testing.assert_array_equal(back[leaf], params[leaf])


@pytest.mark.parametrize("where", ROUND_TRIPS)
def test_a_frozen_forget_bias_goes_along_in_b(where):
    cell = cells.lstm(H, forget_bias="timescale(9)", forget_bias_trainable=False)
    params = cell.init(jax.random.key(0), D)
    back = ROUND_TRIPS[where](params)
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    ys = step_loop.run(cells.lstm(H), back, xs)[1]
    np.testing.assert_array_equal(ys, step_loop.run(cell, params, xs)[1])


def test_torch_biases_are_merged_and_layers_kept_apart():
    layers = [parameters(0), parameters(1, H)]
    state = layers_to_torch(layers)
    assert len(state) == 8 and not state["bias_hh_l1"].any()
    state["bias_hh_l1"] = np.ones(4 * H, np.float32)
    first, second = layers_from_torch(state, input_dim=D, hidden=H, layers=2)
    np.testing.assert_array_equal(first["b"], layers[0]["b"])
    np.testing.assert_allclose(second["b"], layers[1]["b"] + 1.0, rtol=1e-6)
    np.testing.assert_array_equal(second["w_x"], layers[1]["w_x"])


def test_a_two_layer_torch_lstm_equals_two_of_ours():
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(D, H, num_layers=2)
    one, two = layers_from_torch(module.state_dict(), input_dim=D, hidden=H, layers=2)
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    cell = cells.lstm(H)
    ys = step_loop.run(cell, two, step_loop.run(cell, one, xs)[1])[1]
    close(ys, module(torch.tensor(np.asarray(xs)))[0].detach())


def test_misfits_are_refused_by_leaf_and_both_shapes():
    params = parameters()
    linen, state, pure = cell_to_linen(params), layers_to_torch([params]), cell_to_nnx(params)
    with pytest.raises(UserError, match=r"ii/kernel has shape \(4, 6\), and \(5, 6\) is needed"):
        cell_from_linen(linen, input_dim=5, hidden=H)
    with pytest.raises(UserError, match=r"weight_ih_l0 has shape \(24, 4\), and \(28, 4\) is needed"):
        layers_from_torch(state, input_dim=D, hidden=7)
    with pytest.raises(UserError, match=r"dense_i/kernel has shape \(4, 24\), and \(9, 24\) is needed"):
        cell_from_nnx(pure, input_dim=9, hidden=H)
    with pytest.raises(UserError, match=r"weight_ih_l1 is missing; it should have shape \(24, 6\)"):
        layers_from_torch(state, input_dim=D, hidden=H, layers=2)
    with pytest.raises(UserError, match=r"weight_hr_l0, of shape \(2, 6\), is not part of it"):
        layers_from_torch(state | {"weight_hr_l0": np.zeros((2, H))}, input_dim=D, hidden=H)
    with pytest.raises(UserError, match="hg/bias is missing"):
        cell_from_linen(linen | {"hg": {"kernel": linen["hg"]["kernel"]}}, input_dim=D, hidden=H)


def test_other_cells_are_refused():
    gru = cells.gru(H).init(jax.random.key(0), D)
    for convert in (cell_to_linen, cell_to_nnx, lambda p: layers_to_torch([p])):
        with pytest.raises(UserError, match=r"w_x has shape \(4, 3, 6\); the parameters of the cell 'lstm'"):
            convert(gru)
    with pytest.raises(UserError, match=r"w_h has shape \(6, 4, 5\), and \(6, 4, 6\) is needed"):
        cell_to_linen(parameters() | {"w_h": np.zeros((H, 4, 5))})
    with pytest.raises(UserError, match=r"one hidden size, these layers \[6, 8\]"):
        layers_to_torch([parameters(), cells.lstm(8).init(jax.random.key(0), H)])


@pytest.mark.parametrize("cell", LAYOUTS)
def test_a_cell_with_other_functions_is_refused_by_its_name_and_by_its_config(cell):
    """Its leaves are those of the usual one."""
    bent = cells.make_cell(cell, H, options="activation=softsign")
    params, sizes = bent.init(jax.random.key(0), D), dict(input_dim=D, hidden=H, cell=bent.name)
    name = re.escape(bent.name)
    for convert in (lambda: layers_to_torch([params], bent.name), lambda: layers_from_torch({}, **sizes)):
        with pytest.raises(UserError, match=f"unknown cell for PyTorch '{name}'"):
            convert()
    for convert in (lambda: cell_to_linen(params, bent.name), lambda: cell_from_linen({}, **sizes)):
        with pytest.raises(UserError, match=f"unknown cell for linen '{name}'"):
            convert()
    for option in {"activation", "gate_activation"} & set(inspect.signature(cells.CELLS[cell]).parameters):
        with pytest.raises(UserError, match=rf"torch.nn.\w+ has no {option}=softsign, only"):
            torch_layout.module_of({"name": cell, "options": f"{option}=softsign"})


# ---------------------------------------------------------------- the adapter


@pytest.mark.parametrize("name", cells.CELLS)
def test_any_cell_runs_under_linen_rnn_and_nnx_rnn(name):
    cell = cells.make_cell(name, H)
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    module = nn.RNN(LinenCell(cell), time_major=True, return_carry=True)
    variables = jax.jit(module.init)(jax.random.key(0), xs)
    params = variables["params"]["cell"]["cell"]
    expected = step_loop.run(cell, params, xs)[:2]
    jax.tree.map(close, jax.jit(module.apply)(variables, xs), expected)
    of_nnx = NnxCell(cell, D, rngs=nnx.Rngs(0))
    state = nnx.state(of_nnx, nnx.Param)
    nnx.replace_by_pure_dict(state, {"weights": params})
    nnx.update(of_nnx, state)
    of_nnx = nnx.RNN(of_nnx, time_major=True, return_carry=True)
    jax.tree.map(close, nnx.jit(lambda module, xs: module(xs))(of_nnx, xs), expected)


def test_linen_rnn_batch_major_lengths_and_extra_batch_axes():
    cell = cells.lstm(H)
    module = nn.RNN(LinenCell(cell), return_carry=True)
    xs = jax.random.normal(jax.random.key(1), (2, B, T, D))
    variables = module.init(jax.random.key(0), xs)
    carry, ys = module.apply(variables, xs)
    assert ys.shape == (2, B, T, H) and carry.h.shape == (2, B, H)
    flat = jnp.moveaxis(xs.reshape(2 * B, T, D), 1, 0)
    expected = step_loop.run(cell, variables["params"]["cell"]["cell"], flat)[1]
    close(jnp.moveaxis(ys.reshape(2 * B, T, H), 1, 0), expected)
    lengths = jnp.array([1, 3, T])
    carry, _ = module.apply(variables, xs[0], seq_lengths=lengths)
    for b in range(B):
        close(carry.h[b], ys[0, b, lengths[b] - 1])


def test_the_adapter_equals_linens_own_cell_with_the_same_weights():
    params = parameters()
    xs = jax.random.normal(jax.random.key(1), (B, T, D))
    ys = nn.RNN(LinenCell(cells.lstm(H))).apply({"params": {"cell": {"cell": params}}}, xs)
    theirs = nn.RNN(nn.OptimizedLSTMCell(H)).apply({"params": {"cell": cell_to_linen(params)}}, xs)
    close(ys, theirs)


def test_the_adapter_runs_wrapped_cells_as_in_evaluation():
    cell = cells.zoneout(cells.weight_drop(cells.lstm(H), 0.5), 0.3, 0.3)
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    module = nn.RNN(LinenCell(cell), time_major=True)
    variables = module.init(jax.random.key(0), xs)
    expected = step_loop.run(cell, variables["params"]["cell"]["cell"], xs)[1]
    close(module.apply(variables, xs), expected)


def test_the_adapter_asks_for_a_learned_first_carry():
    plain = cells.lstm(H)
    learned = plain._replace(
        carry=lambda params, batch: cells.LSTMCarry(*jnp.broadcast_to(params["start"], (2, batch, H)))
    )
    xs = jnp.zeros((B, T, D))
    with pytest.raises(UserError, match="'lstm' learns its initial carry 'start': pass initial_carry"):
        nn.RNN(LinenCell(learned)).init(jax.random.key(0), xs)


def test_flax_s_own_form_of_the_carry_will_do():
    """(c, h) as a plain tuple, in a linen cell, linen.RNN, an nnx cell and nnx.RNN."""
    cell = cells.lstm(4)
    xs, c, h = (
        jax.random.normal(jax.random.key(n), shape) for n, shape in enumerate([(2, 5, 3), (2, 4), (2, 4)])
    )
    layer = nn.RNN(LinenCell(cell), return_carry=True)
    params = layer.init(jax.random.key(9), xs)
    own = layer.apply(params, xs, initial_carry=cells.LSTMCarry(c, h))
    given = layer.apply(params, xs, initial_carry=(c, h))
    for a, b in zip(jax.tree.leaves(given), jax.tree.leaves(own), strict=True):
        np.testing.assert_array_equal(a, b)
    assert type(given[0]) is tuple
    theirs = NnxCell(cell, 3, rngs=nnx.Rngs(0))
    given = nnx.RNN(theirs)(xs, initial_carry=(c, h))
    np.testing.assert_array_equal(given, nnx.RNN(theirs)(xs, initial_carry=cells.LSTMCarry(c, h)))
    with pytest.raises(UserError, match=r"the carry of cell 'lstm' is \(c, h\), not 3 arrays"):
        theirs((c, h, h), xs[:, 0])
    with pytest.raises(UserError, match="a cell takes real numbers"):
        theirs((c, h), xs[:, 0] + 1j)


def test_tensors_of_any_kind_and_names_of_data_parallel():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.LSTM(3, 4)
    plain = layers_from_torch(theirs.state_dict(), input_dim=3, hidden=4)
    trainable = {f"module.{name}": leaf for name, leaf in theirs.named_parameters()}
    jax.tree.map(np.testing.assert_array_equal, layers_from_torch(trainable, input_dim=3, hidden=4), plain)
    half = {name: leaf.bfloat16() for name, leaf in theirs.state_dict().items()}
    for a, b in zip(
        jax.tree.leaves(layers_from_torch(half, input_dim=3, hidden=4)), jax.tree.leaves(plain), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-2)


def test_a_cell_says_what_it_is():
    assert repr(cells.weight_drop(cells.lstm(8), 0.5)) == "<cell lstm, H = 8, weight_drop>"
