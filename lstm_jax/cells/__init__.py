"""Recurrent cells as records of pure functions, the table of them, and the wrappers around them.

To add a cell: one file with one factory (see elman.py), one line in CELLS, one oracle in tests/oracles/.
To try one of your own in a notebook or script: `register` (notebooks/05_your_own_cell.py).
"""

import inspect
from collections.abc import Callable
from typing import Any, get_args

from lstm_jax.cells.attention_lstm import attention_lstm
from lstm_jax.cells.base import Carry, Cell, Trace
from lstm_jax.cells.capped_lstm import capped_lstm
from lstm_jax.cells.elman import ElmanCarry, elman
from lstm_jax.cells.fast_weights import fast_weights
from lstm_jax.cells.greff import greff, peephole
from lstm_jax.cells.gru import GRUCarry, gru
from lstm_jax.cells.indrnn import indrnn
from lstm_jax.cells.irnn import irnn
from lstm_jax.cells.janet import janet
from lstm_jax.cells.layer_norm_lstm import layer_norm_lstm
from lstm_jax.cells.lstm import LSTMCarry, lstm
from lstm_jax.cells.lstm_1997 import lstm_1997
from lstm_jax.cells.minimal import min_gru, min_lstm
from lstm_jax.cells.mogrifier import mogrifier
from lstm_jax.cells.multi_timescale import multi_timescale
from lstm_jax.cells.on_lstm import on_lstm
from lstm_jax.cells.para_gru import para_gru
from lstm_jax.cells.para_lstm import para_lstm
from lstm_jax.cells.plastic import plastic
from lstm_jax.cells.plastic_lstm import plastic_lstm
from lstm_jax.cells.projected_lstm import projected_lstm
from lstm_jax.cells.scrn import scrn
from lstm_jax.cells.slstm import slstm
from lstm_jax.cells.spec import parse_options
from lstm_jax.cells.stack_lstm import stack_lstm
from lstm_jax.cells.stack_rnn import stack_rnn
from lstm_jax.cells.tape_rnn import tape_rnn
from lstm_jax.cells.ur_lstm import ur_lstm
from lstm_jax.cells.weight_drop import weight_drop
from lstm_jax.cells.zoneout import zoneout
from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import check_name, lookup

__all__ = [
    "CELLS",
    "NO_FORGET_BIAS",
    "Carry",
    "Cell",
    "ElmanCarry",
    "GRUCarry",
    "LSTMCarry",
    "Trace",
    "attention_lstm",
    "capped_lstm",
    "elman",
    "fast_weights",
    "greff",
    "gru",
    "indrnn",
    "irnn",
    "janet",
    "layer_norm_lstm",
    "lstm",
    "lstm_1997",
    "make_cell",
    "min_gru",
    "min_lstm",
    "mogrifier",
    "multi_timescale",
    "on_lstm",
    "para_gru",
    "para_lstm",
    "peephole",
    "plastic",
    "plastic_lstm",
    "projected_lstm",
    "register",
    "scrn",
    "slstm",
    "stack_lstm",
    "stack_rnn",
    "tape_rnn",
    "ur_lstm",
    "weight_drop",
    "zoneout",
]

CELLS: dict[str, Callable[..., Cell]] = {
    "lstm": lstm,
    "gru": gru,
    "elman": elman,
    "lstm_1997": lstm_1997,
    "peephole": peephole,
    "greff": greff,
    "capped_lstm": capped_lstm,
    "janet": janet,
    "ur_lstm": ur_lstm,
    "layer_norm_lstm": layer_norm_lstm,
    "multi_timescale": multi_timescale,
    "irnn": irnn,
    "projected_lstm": projected_lstm,
    "on_lstm": on_lstm,
    "scrn": scrn,
    "min_lstm": min_lstm,
    "min_gru": min_gru,
    "para_lstm": para_lstm,
    "para_gru": para_gru,
    "indrnn": indrnn,
    "slstm": slstm,
    "mogrifier": mogrifier,
    "fast_weights": fast_weights,
    "plastic": plastic,
    "plastic_lstm": plastic_lstm,
    "attention_lstm": attention_lstm,
    "stack_rnn": stack_rnn,
    "stack_lstm": stack_lstm,
    "tape_rnn": tape_rnn,
}
"""Cell factories by name: (hidden, *, options) -> Cell. Their options are the config section `model.cell`."""

NO_FORGET_BIAS = {
    *("gru", "elman", "lstm_1997", "irnn", "multi_timescale", "min_gru", "scrn", "fast_weights", "plastic"),
    *("stack_rnn", "tape_rnn", "para_gru", "indrnn"),
}
"""The cells for which the config's `forget_bias` fields mean nothing and are dropped."""

_OURS = frozenset(CELLS)


def register(factory: Callable[..., Cell]) -> Callable[..., Cell]:
    """Puts a cell of your own into CELLS, under its function's name; a decorator.

    From then on, in this process, configs, experiments and sweeps find it: `config.model.cell.name = "mine"`.
    Again under the same name, it replaces what was there. A factory without a parameter `forget_bias` goes to
    NO_FORGET_BIAS. Processes that did not register it do not know it: sweep with mode "sequential" or "vmap",
    and register it before a run of it is read. `lstm_jax.unroll.properties.check` tests it.

    Args:
      factory: (hidden, *, init, dtype, its own options) -> Cell.

    Raises:
      UserError: a name of the package's own cells, or a factory without hidden, init or dtype.
    """
    name = factory.__name__
    if name in _OURS:
        raise UserError(f"{name!r} is a cell of the package: give yours another name")
    known = inspect.signature(factory).parameters
    lacking = [parameter for parameter in ("hidden", "init", "dtype") if parameter not in known]
    if lacking:
        raise UserError(
            f"the cell {name!r} takes no {', '.join(lacking)}: models call it as "
            f"{name}(hidden, init=..., dtype=...)"
        )
    CELLS[name] = factory
    (NO_FORGET_BIAS.discard if "forget_bias" in known else NO_FORGET_BIAS.add)(name)
    return factory


def make_cell(
    name: str, hidden: int, *, layer: int = 0, layers: int = 1, options: str = "", **fields: Any
) -> Cell:
    """The cell `name` of H = `hidden` units, for layer `layer` of `layers`.

    Args:
      name: a name of CELLS.
      hidden: H.
      layer: index of the layer, from the input up; given to the factories that ask for it.
      layers: L.
      options: further keyword arguments of the factory as text, "chunk=10,slots=8"; see `spec.parse_options`.
      fields: the factory's keyword arguments. `forget_bias` and `forget_bias_trainable` are dropped for
        the cells of NO_FORGET_BIAS, and `forget_bias` "" for the others, whose own default then holds;
        nothing else is.

    Raises:
      UserError: an unknown cell or option, an option given twice or of another kind than the factory's
        signature says, or a value that the factory refuses.
    """
    factory = lookup(CELLS, name, "cell")
    given = parse_options(options, "model.cell.options")
    for option in set(given) & {*fields, "hidden", "layer", "layers", "name", "options"}:
        raise UserError(f"model.cell.options {options!r}: {option!r} has a field of its own; set that one")
    unset = ("forget_bias", "forget_bias_trainable") if name in NO_FORGET_BIAS else ()
    if fields.get("forget_bias") == "":
        unset = ("forget_bias", *unset)
    fields = {k: v for k, v in fields.items() if k not in unset}
    known = {k: v for k, v in inspect.signature(factory).parameters.items() if k != "hidden"}
    for option in fields | given:
        check_name(option, [k for k in known if k not in ("layer", "layers")], f"option of cell {name!r}")
    for option, value in given.items():
        _check_kind(value, known[option].annotation, f"option {option!r} of cell {name!r}")
    if "layer" in known:
        fields |= {"layer": layer, "layers": layers}
    if not 0 <= layer < layers:
        raise UserError(f"layer {layer} is not one of {layers} layers")
    return factory(hidden, **fields, **given)


_KINDS: dict[Any, tuple[str, tuple[type, ...]]] = {
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    str: ("a word", (str,)),
}


def _check_kind(value: Any, annotation: Any, what: str) -> None:
    """Raises UserError where a parameter of one plain type was given text that is not of it."""
    among = get_args(annotation)  # a number that may be traced is annotated float | Array
    annotation = float if float in among and str not in among else annotation
    kind, types = _KINDS.get(annotation, ("", (object,)))
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types and kind):
        raise UserError(f"{what} must be {kind}, not {value!r}")
