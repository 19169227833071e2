"""The same as `flax_linen` with many steps inside one compiled loop: the cost of the model alone."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from shapes import WINDOWS, Shape

from contestants.flax_linen import make_step, windows

__all__ = ["build"]


def build(shape: Shape, precision: str) -> tuple[Callable[[int], float], str]:
    """See `contestants`."""
    step, state = make_step(shape, precision)
    batches = jnp.asarray(windows(shape))

    def loop(state, first, steps):
        def body(index, loop):
            state, _ = loop
            return step(state, batches[(first + index) % WINDOWS])

        return jax.lax.fori_loop(0, steps, body, (state, jnp.zeros(())))

    loop = jax.jit(loop, donate_argnums=0)
    held = [state, 0]

    def run(steps: int) -> float:
        held[0], value = jax.block_until_ready(loop(held[0], held[1], steps))
        held[1] += steps
        return float(value) / shape.window

    return run, jax.devices()[0].device_kind
