"""The plainest way to run a cell: step after step, for tests that must not depend on `lstm_jax.unroll`.

Compiled once a cell object and shape, so keep the object (`functools.cache`) where several tests run it.
"""

import functools

import jax


@functools.partial(jax.jit, static_argnums=0)
def run(cell, params, xs, carry=None, key=None):
    """xs [T, B, D] -> last carry, ys [T, B, H], trace {name: [T, B, H]}."""
    carry = cell.carry(params, xs.shape[1]) if carry is None else carry
    seen, zs = cell.prepare(params, xs, key)

    def step(carry, z):
        carry, y, trace = cell.update(seen, carry, z, cell.recur(seen, carry))
        return carry, (y, trace)

    carry, (ys, trace) = jax.lax.scan(step, carry, zs)
    return carry, cell.finish(seen, ys), trace
