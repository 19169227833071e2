"""The functions that gates and states pass through, by name."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from lstm_jax.support.notation import Array
from lstm_jax.support.registry import lookup

__all__ = ["ACTIVATIONS", "Activation", "activation_function", "cell_name"]

Activation: TypeAlias = str | Callable[[Array], Array]
"""What the arguments `activation` and `gate_activation` of a cell accept; see `activation_function`."""


def _hard_sigmoid(a: Array) -> Array:
    return jnp.clip(a / 6.0 + 0.5, 0.0, 1.0)


def _hard_tanh(a: Array) -> Array:
    return jnp.clip(a, -1.0, 1.0)


def _relu(a: Array) -> Array:
    return jnp.where(a > 0.0, a, 0.0)  # its gradient at 0 is 0; that of maximum(a, 0) would be 1/2


def _softsign(a: Array) -> Array:
    return a / (1.0 + jnp.abs(a))


def _identity(a: Array) -> Array:
    return a


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": jax.nn.sigmoid,
    "hard_sigmoid": _hard_sigmoid,
    "tanh": jnp.tanh,
    "hard_tanh": _hard_tanh,
    "softsign": _softsign,
    "relu": _relu,
    "identity": _identity,
}
"""Elementwise functions: sigmoid; hard_sigmoid, clip(a/6 + 1/2, 0, 1) as in jax and PyTorch (Keras once had
a/5); tanh; hard_tanh, clip(a, -1, 1); softsign, a / (1 + |a|); relu, max(a, 0); identity."""


def activation_function(activation: Any) -> Callable[[Array], Array]:
    """The elementwise function that a name of ACTIVATIONS means; a function is what it is.

    Raises:
      UserError: an unknown name.
    """
    return activation if callable(activation) else lookup(ACTIVATIONS, activation, "activation")


def cell_name(cell: str, functions: Sequence[Activation], usual: Sequence[str] = ("sigmoid", "tanh")) -> str:
    """The name of a cell with these functions: "gru" with its usual ones, else "gru(hard_sigmoid, tanh)".

    For what knows the equations of a cell by its name (cuDNN, `compat`) does not have them with others.
    """
    if tuple(functions) == tuple(usual):
        return cell
    words = (f if isinstance(f, str) else getattr(f, "__name__", "a function") for f in functions)
    return f"{cell}({', '.join(words)})"
