"""What the models have in common: which sizes are possible, one layer's cell with its wrappers, the input."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from lstm_jax import cells
from lstm_jax.cells import initializers
from lstm_jax.cells.rates import absent
from lstm_jax.models.base import DTYPES
from lstm_jax.models.dropout import drop_words
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params
from lstm_jax.support.registry import check_name

__all__ = ["check_sizes", "embed", "make_layers", "own_weights"]


def check_sizes(vocab: int | None, input_dim: int | None, hidden: Sequence[int], dtype: str) -> None:
    """Raises UserError unless there are tokens or features, widths, and a dtype that is known."""
    check_name(dtype, DTYPES, "dtype")
    if (vocab is None) == (input_dim is None):
        raise UserError("a model reads either tokens (vocab=V) or features (input_dim=D): give exactly one")
    if not hidden or min(hidden) < 1:
        raise UserError(f"model.hidden={tuple(hidden)}: one positive width a layer, e.g. 200,200")


def make_layers(
    widths: Sequence[int], cell: Mapping[str, Any], rates: Mapping[str, Any], dtype: Any
) -> tuple[cells.Cell, ...]:
    """The cell of each layer, in the wrappers that the dropout rates ask for.

    Raises:
      UserError: an unknown cell or an option that it refuses.
    """
    layers = []
    for index, width in enumerate(widths):
        made = cells.make_cell(**cell, hidden=width, layer=index, layers=len(widths), dtype=dtype)
        if not absent(rates["weight"]):
            made = cells.weight_drop(made, rates["weight"])
        if not (absent(rates["zoneout_cell"]) and absent(rates["zoneout_hidden"])):
            made = cells.zoneout(made, rates["zoneout_cell"], rates["zoneout_hidden"])
        layers.append(made)
    return tuple(layers)


def own_weights(init: str) -> Any:
    """(key, shape) -> array: the draw of embedding and head weights. Raises UserError unless `uniform(a)`."""
    if not init.startswith("uniform"):
        raise UserError(f"model.init={init!r}: embedding and head start as uniform(a), e.g. uniform(0.1)")
    return initializers.initializer(init).vector


def embed(
    params: Params, inputs: Array, vocab: int | None, rate: float, key: Key | None, dtype: Any
) -> Array:
    """Tokens [T, B] as [T, B, E] of `dtype`, with whole word types dropped at `rate`; else the inputs."""
    x = inputs
    if vocab is not None and jnp.issubdtype(inputs.dtype, jnp.integer):
        x = drop_words(params["embedding"][inputs], inputs, vocab, rate, key)
    return x.astype(dtype)
