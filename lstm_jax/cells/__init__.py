"""Recurrent cells as records of pure functions, the table of them, and the wrappers around them.

To add a cell: one file with one factory (see elman.py), one line in CELLS, one oracle in tests/oracles.py.
"""

import inspect
from collections.abc import Callable
from typing import Any

from lstm_jax.cells.base import Carry, Cell, Trace
from lstm_jax.cells.elman import ElmanCarry, elman
from lstm_jax.cells.gru import GRUCarry, gru
from lstm_jax.cells.lstm import LSTMCarry, lstm
from lstm_jax.cells.weight_drop import weight_drop
from lstm_jax.cells.zoneout import zoneout
from lstm_jax.errors import UserError
from lstm_jax.registry import check_name, lookup

__all__ = [
    "CELLS",
    "NO_FORGET_BIAS",
    "Carry",
    "Cell",
    "ElmanCarry",
    "GRUCarry",
    "LSTMCarry",
    "Trace",
    "elman",
    "gru",
    "lstm",
    "make_cell",
    "weight_drop",
    "zoneout",
]

CELLS: dict[str, Callable[..., Cell]] = {
    "lstm": lstm,
    "gru": gru,
    "elman": elman,
}
"""Cell factories by name: (hidden, *, options) -> Cell. Their options are the config section `model.cell`."""

NO_FORGET_BIAS = frozenset({"gru", "elman"})
"""The cells for which the config's `forget_bias` fields mean nothing and are dropped."""


def make_cell(name: str, hidden: int, *, layer: int = 0, layers: int = 1, **options: Any) -> Cell:
    """The cell `name` of H = `hidden` units, for layer `layer` of `layers`.

    Args:
      name: a name of CELLS.
      hidden: H.
      layer: index of the layer, from the input up; given to the factories that ask for it.
      layers: L.
      options: the factory's keyword arguments. `forget_bias` and `forget_bias_trainable` are dropped for
        the cells of NO_FORGET_BIAS; nothing else is.

    Raises:
      UserError: an unknown cell or option, or a value that the factory refuses.
    """
    factory = lookup(CELLS, name, "cell")
    if name in NO_FORGET_BIAS:
        options = {k: v for k, v in options.items() if k not in ("forget_bias", "forget_bias_trainable")}
    known = [parameter for parameter in inspect.signature(factory).parameters if parameter != "hidden"]
    for option in options:
        check_name(option, [k for k in known if k not in ("layer", "layers")], f"option of cell {name!r}")
    if "layer" in known:
        options |= {"layer": layer, "layers": layers}
    if not 0 <= layer < layers:
        raise UserError(f"layer {layer} is not one of {layers} layers")
    return factory(hidden, **options)
