"""The plainest way to run a cell: a Python loop, for tests that must not depend on `lstm_jax.unroll`."""

import jax
import jax.numpy as jnp


def run(cell, params, xs, carry=None, key=None):
    """xs [T, B, D] -> last carry, ys [T, B, H], trace {name: [T, B, H]}."""
    carry = cell.carry(params, xs.shape[1]) if carry is None else carry
    seen, zs = cell.prepare(params, xs, key)
    ys, traces = [], []
    for t in range(xs.shape[0]):
        z = jax.tree.map(lambda leaf, t=t: leaf[t], zs)
        carry, y, trace = cell.update(seen, carry, z, cell.recur(seen, carry))
        ys.append(y)
        traces.append(trace)
    return carry, cell.finish(seen, jnp.stack(ys)), jax.tree.map(lambda *leaves: jnp.stack(leaves), *traces)
