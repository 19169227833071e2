"""What device there is, and its two measured ceilings."""

import importlib.metadata
import platform
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from checks import Row, Settings
from checks.timing import seconds_per_call

__all__ = ["device"]

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "torch", "jax-cuda13-plugin")


def versions() -> Row:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def copy_bandwidth(settings: Settings) -> float:
    """Bytes read and written in a second by y = x + 1 on an array far larger than the caches."""
    size = 2**20 if settings.miniature else 2**30
    x = jnp.arange(size, dtype=jnp.float32)
    add = jax.jit(lambda x: x + 1)
    seconds, _ = seconds_per_call(lambda: jax.block_until_ready(add(x)))
    return 2 * 4 * size / seconds


def matmul_rate(settings: Settings) -> float:
    """Floating-point operations in a second of a bfloat16 product of random square matrices."""
    size = 256 if settings.miniature else 8192
    a, b = jax.random.normal(jax.random.key(0), (2, size, size), jnp.bfloat16)
    product = jax.jit(lambda a, b: a @ b)
    seconds, _ = seconds_per_call(lambda: jax.block_until_ready(product(a, b)))
    return 2 * size**3 / seconds


def device(settings: Settings) -> Iterator[Row]:
    """Yields one row: device, versions, ceilings."""
    devices = jax.devices()
    yield {
        "device": devices[0].device_kind,
        "platform": devices[0].platform,
        "devices": len(devices),
        **versions(),
        "copy_tb_per_s": copy_bandwidth(settings) / 1e12,
        "matmul_bf16_tflops": matmul_rate(settings) / 1e12,
    }
