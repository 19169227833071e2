"""Values and gradients of whole sequences against flax linen, flax nnx, PyTorch and jax.experimental.rnn."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.experimental import rnn

from lstm_jax import cells
from lstm_jax.compat import linen as to_linen
from lstm_jax.compat import nnx as to_nnx
from lstm_jax.compat import torch as to_torch
from tests import step_loop

T, B, D, H = 7, 3, 4, 5
# Two float32 programs that sum in different orders: 6e-8 a rounding, some tens of roundings a gradient.
VALUES = dict(rtol=1e-5, atol=1e-6)
GRADIENTS = dict(rtol=1e-4, atol=5e-6)


def problem(name, **options):
    cell = cells.make_cell(name, H, init="uniform(0.6)", **options)
    params = cell.init(jax.random.key(0), D)
    xs = jax.random.normal(jax.random.key(1), (T, B, D))
    weights = jax.random.normal(jax.random.key(2), (T, B, H))  # so that every output has its own cotangent
    drawn = jax.random.normal(jax.random.key(3), (2, B, H))
    return cell, params, xs, weights, drawn


def ours(cell, params, xs, weights, carry):
    """Outputs, last carry, and the gradients of a sum of both by params, inputs and first carry."""

    def total(params, xs, carry):
        last, ys, _ = step_loop.run(cell, params, xs, carry)
        return jnp.sum(weights * ys) + sum(jnp.sum(leaf) for leaf in last), (last, ys)

    grads, (last, ys) = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(params, xs, carry)
    return ys, last, grads


def compare(actual, desired, tolerance):
    jax.tree.map(lambda a, d: np.testing.assert_allclose(a, d, **tolerance), actual, desired)


def as_ours(convert, grads):
    """Gradients by foreign weights in our layout: the conversion is linear, and b takes the whole bias."""
    return dict(convert(jax.tree.map(np.asarray, grads)))


@pytest.mark.parametrize("flax_cell", [nn.LSTMCell, nn.OptimizedLSTMCell])
def test_linen(flax_cell):
    cell, params, xs, weights, (c, h) = problem("lstm")
    ys, last, grads = ours(cell, params, xs, weights, cells.LSTMCarry(c, h))
    module = flax_cell(H)

    def total(flax_params, xs, carry):
        outs = []
        for x in xs:
            carry, y = module.apply({"params": flax_params}, carry, x)
            outs.append(y)
        ys = jnp.stack(outs)
        return jnp.sum(weights * ys) + sum(jnp.sum(leaf) for leaf in carry), (carry, ys)

    by_flax = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))
    theirs, (flax_last, flax_ys) = by_flax(to_linen.cell_to_linen(params), xs, (c, h))
    compare((ys, tuple(last)), (flax_ys, flax_last), VALUES)
    in_our_layout = as_ours(lambda g: to_linen.cell_from_linen(g, input_dim=D, hidden=H), theirs[0])
    compare(grads[0], in_our_layout, GRADIENTS)
    compare((grads[1], tuple(grads[2])), theirs[1:], GRADIENTS)


def test_nnx():
    cell, params, xs, weights, (c, h) = problem("lstm")
    ys, last, grads = ours(cell, params, xs, weights, cells.LSTMCarry(c, h))
    module = nnx.OptimizedLSTMCell(D, H, rngs=nnx.Rngs(0))
    graph, state, rest = nnx.split(module, nnx.Param, ...)

    def total(pure, xs, carry):
        filled = jax.tree.map(lambda leaf: leaf, state)
        nnx.replace_by_pure_dict(filled, pure)
        step, outs = nnx.merge(graph, filled, rest), []
        for x in xs:
            carry, y = step(carry, x)
            outs.append(y)
        ys = jnp.stack(outs)
        return jnp.sum(weights * ys) + sum(jnp.sum(leaf) for leaf in carry), (carry, ys)

    theirs, (nnx_last, nnx_ys) = jax.grad(total, argnums=(0, 1, 2), has_aux=True)(
        jax.tree.map(jnp.asarray, to_nnx.cell_to_nnx(params)), xs, (c, h)
    )
    compare((ys, tuple(last)), (nnx_ys, nnx_last), VALUES)
    in_our_layout = as_ours(lambda g: to_nnx.cell_from_nnx(g, input_dim=D, hidden=H), theirs[0])
    compare(grads[0], in_our_layout, GRADIENTS)
    compare((grads[1], tuple(grads[2])), theirs[1:], GRADIENTS)


def test_jax_experimental_rnn():
    cell, params, xs, weights, (c, h) = problem("lstm")
    ys, last, grads = ours(cell, params, xs, weights, cells.LSTMCarry(c, h))

    def total(flat, xs, c, h):
        w_ih, w_hh, b_ih, b_hh = ({0: leaf} for leaf in flat)
        lengths = jnp.full((B,), T, jnp.int32)
        batch_first = jnp.swapaxes(xs, 0, 1)
        ys, h, c = rnn.lstm_ref(
            batch_first, h[None], c[None], w_ih, w_hh, b_ih, b_hh, lengths, D, H, 1, 0.0, False
        )
        ys = jnp.swapaxes(ys, 0, 1)
        return jnp.sum(weights * ys) + jnp.sum(h) + jnp.sum(c), (c[0], h[0], ys)

    state = to_torch.layers_to_torch([params])  # cuDNN's layout is torch's
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    flat = tuple(jnp.asarray(state[name]) for name in names)
    theirs, (ref_c, ref_h, ref_ys) = jax.grad(total, argnums=(0, 1, 2, 3), has_aux=True)(flat, xs, c, h)
    compare((ys, tuple(last)), (ref_ys, (ref_c, ref_h)), VALUES)
    by_name = dict(zip(names, theirs[0], strict=True)) | {"bias_hh_l0": np.zeros(4 * H)}
    in_our_layout = as_ours(lambda g: to_torch.layers_from_torch(g, input_dim=D, hidden=H)[0], by_name)
    compare(grads[0], in_our_layout, GRADIENTS)
    compare((grads[1], tuple(grads[2])), (theirs[1], theirs[2:]), GRADIENTS)


def torch_run(torch, module, xs, weights, start):
    """Outputs, last state, and gradients, of a torch recurrent module, as NumPy."""
    inputs = torch.tensor(np.asarray(xs), requires_grad=True)
    start = [torch.tensor(np.asarray(leaf))[None].requires_grad_() for leaf in start]
    ys, last = module(inputs, tuple(start) if len(start) == 2 else start[0])
    last = last if isinstance(last, tuple) else (last,)
    ((torch.tensor(np.asarray(weights)) * ys).sum() + sum(leaf.sum() for leaf in last)).backward()
    named = {name: leaf.grad.numpy() for name, leaf in module.named_parameters()}
    return (
        ys.detach().numpy(),
        [leaf.detach().numpy()[0] for leaf in last],
        named,
        inputs.grad.numpy(),
        [leaf.grad.numpy()[0] for leaf in start],
    )


def test_torch_lstm():
    torch = pytest.importorskip("torch")
    cell, params, xs, weights, (c, h) = problem("lstm")
    ys, last, grads = ours(cell, params, xs, weights, cells.LSTMCarry(c, h))
    module = torch.nn.LSTM(D, H)
    module.load_state_dict({k: torch.tensor(v) for k, v in to_torch.layers_to_torch([params]).items()})
    torch_ys, (t_h, t_c), named, d_xs, (d_h, d_c) = torch_run(torch, module, xs, weights, (h, c))
    compare((ys, tuple(last)), (torch_ys, (t_c, t_h)), VALUES)
    np.testing.assert_array_equal(named["bias_ih_l0"], named["bias_hh_l0"])  # each has the whole gradient
    by_name = named | {"bias_hh_l0": np.zeros(4 * H)}
    in_our_layout = as_ours(lambda g: to_torch.layers_from_torch(g, input_dim=D, hidden=H)[0], by_name)
    compare(grads[0], in_our_layout, GRADIENTS)
    compare((grads[1], tuple(grads[2])), (d_xs, (d_c, d_h)), GRADIENTS)


def test_torch_gru():
    torch = pytest.importorskip("torch")
    cell, params, xs, weights, (_, h) = problem("gru")
    ys, last, grads = ours(cell, params, xs, weights, cells.GRUCarry(h))
    module = torch.nn.GRU(D, H)

    def tensor(array):
        return torch.tensor(np.array(array))

    b_hh = np.concatenate([np.zeros(2 * H), params["b_h"]]).astype(np.float32)
    module.load_state_dict(
        {
            "weight_ih_l0": tensor(params["w_x"].reshape(D, -1).T),
            "weight_hh_l0": tensor(params["w_h"].reshape(H, -1).T),
            "bias_ih_l0": tensor(params["b"].reshape(-1)),
            "bias_hh_l0": tensor(b_hh),
        }
    )
    torch_ys, (t_h,), named, d_xs, (d_h,) = torch_run(torch, module, xs, weights, (h,))
    compare((ys, tuple(last)), (torch_ys, (t_h,)), VALUES)
    expected = {
        "w_x": named["weight_ih_l0"].T.reshape(D, 3, H),
        "w_h": named["weight_hh_l0"].T.reshape(H, 3, H),
        "b": named["bias_ih_l0"].reshape(3, H),
        "b_h": named["bias_hh_l0"][2 * H :],
    }
    compare(dict(grads[0]), expected, GRADIENTS)
    compare((grads[1], tuple(grads[2])), (d_xs, (d_h,)), GRADIENTS)


def test_linen_gru_and_simple_cell():
    """Flax's own cells share the form: parity of values, in flax's layout of one Dense a gate."""
    cell, params, xs, _, (_, h) = problem("gru")
    dense = {
        f"i{gate}": {"kernel": params["w_x"][:, k], "bias": params["b"][k]} for k, gate in enumerate("rzn")
    } | {f"h{gate}": {"kernel": params["w_h"][:, k]} for k, gate in enumerate("rzn")}
    dense["hn"]["bias"] = params["b_h"]
    carry, outs = h, []
    for x in xs:
        carry, y = nn.GRUCell(H).apply({"params": dense}, carry, x)
        outs.append(y)
    compare(step_loop.run(cell, params, xs, cells.GRUCarry(h))[1], jnp.stack(outs), VALUES)

    cell, params, xs, _, (_, h) = problem("elman")
    dense = {
        "i": {"kernel": params["w_x"][:, 0], "bias": params["b"][0]},
        "h": {"kernel": params["w_h"][:, 0]},
    }
    carry, outs = h, []
    for x in xs:
        carry, y = nn.SimpleCell(H).apply({"params": dense}, carry, x)
        outs.append(y)
    compare(step_loop.run(cell, params, xs, cells.ElmanCarry(h))[1], jnp.stack(outs), VALUES)
