"""Named key streams: fold in the stream's name, then the step, so that no key sits in any state."""

import zlib

import jax

from lstm_jax.support.notation import Array, Key

__all__ = ["stream"]


def stream(key: Key, name: str, step: int | Array | None = None) -> Key:
    """The key of stream `name` at `step`.

    Equal arguments give equal keys on every machine and after every resume; different names or
    steps give independent keys. `step` may be traced.

    Args:
      key: the root key of the run (`jax.random.key(seed)`).
      name: what the numbers are for, e.g. "dropout".
      step: training step, layer index, or None for a stream without steps.
    """
    key = jax.random.fold_in(key, zlib.crc32(name.encode()))
    return key if step is None else jax.random.fold_in(key, step)
