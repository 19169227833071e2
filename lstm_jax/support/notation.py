"""Axis letters and type names used in every signature and docstring.

    T  time steps of a window           B  batch: parallel streams or sequences
    D  input features of a layer        H  hidden units of a layer
    G  gates of a cell                  V  vocabulary
    E  embedding features               L  layers
    K  members of a sweep               N  tokens of a corpus split

Sequences are time-major: `[T, B, ...]`. The LSTM's gates are ordered i, f, g, o (input, forget,
candidate, output), which is cuDNN's and PyTorch's order.
"""

from typing import Any, TypeAlias

import jax

__all__ = ["Array", "Key", "Params", "Tree"]

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array
"""A typed key from `jax.random.key`."""
Tree: TypeAlias = Any
"""A pytree of arrays."""
Params: TypeAlias = Any
"""A pytree of trainable arrays: nested plain dicts and tuples."""
