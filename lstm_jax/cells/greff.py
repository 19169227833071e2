"""The LSTM with peepholes, and its eight ablations (Gers & Schmidhuber 2000; Greff 2017), as one table."""

from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp

from lstm_jax.cells.activations import ACTIVATIONS, Activation, activation_function, cell_name
from lstm_jax.cells.base import Carry, Cell, Trace
from lstm_jax.cells.forget_bias import ForgetBias, bias_rows, plain_rows
from lstm_jax.cells.gated import gated, product, split_gates
from lstm_jax.cells.initializers import Initializer
from lstm_jax.cells.lstm import LSTMCarry, lstm_state
from lstm_jax.support.notation import Array, Key, Params
from lstm_jax.support.registry import lookup

__all__ = ["ABLATIONS", "Ablation", "GatesCarry", "greff", "peephole"]


class Ablation(NamedTuple):
    """What one of Greff's variants has.

    Attributes:
      gates: those with weights of their own, in the order of G.
      coupled: i = 1 - f. Greff writes f = 1 - i, which is the same with the signs of one gate's weights
        turned; so the forget gate keeps its row and its bias.
      peepholes: the gates see c.
      bent_in: False: g is the sum itself.
      bent_out: False: h = o c.
      gates_recur: i, f and o of the last step reach i, f and o.
    """

    gates: str = "ifgo"
    coupled: bool = False
    peepholes: bool = True
    bent_in: bool = True
    bent_out: bool = True
    gates_recur: bool = False

    @property
    def sigmoids(self) -> str:
        """The gates but the candidate: those with a peephole."""
        return self.gates.replace("g", "")


ABLATIONS: dict[str, Ablation] = {
    "vanilla": Ablation(),
    "nig": Ablation(gates="fgo"),
    "nfg": Ablation(gates="igo"),
    "nog": Ablation(gates="ifg"),
    "niaf": Ablation(bent_in=False),
    "noaf": Ablation(bent_out=False),
    "cifg": Ablation(gates="fgo", coupled=True),
    "np": Ablation(peepholes=False),
    "fgr": Ablation(gates_recur=True),
}
"""Greff 2017, section III-A: no input, forget or output gate; no input or output activation function; coupled
input and forget gate; no peepholes; full gate recurrence."""


class GatesCarry(NamedTuple):
    """c [B, H] float32; h [B, H] in the compute dtype; the gates i, f, o [B, H] of the last step, float32."""

    c: Array
    h: Array
    i: Array
    f: Array
    o: Array


def greff(
    hidden: int,
    *,
    variant: str = "vanilla",
    forget_bias: ForgetBias = 1.0,
    forget_bias_trainable: bool = True,
    gate_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """The vanilla LSTM of Greff 2017, or one of its ablations; "np" is `lstm`, "vanilla" is `peephole`.

    Vanilla: i, f = sigmoid(x W_x + h W_h + p c + b), g = tanh(x W_x + h W_h + b), c' = f c + i g,
    o = sigmoid(x W_x + h W_h + p c' + b), h' = o tanh(c') (section II). The leaf `peephole` has a row p [H]
    for each gate but g, and starts like a bias. "fgr" adds to i, f and o the product of the last step's i, f
    and o with `w_h_gates` [3 H, 3, H], nine matrices; the gates before the first step are 0.

    The forget bias fills the row of f; "nfg" has none, and it means nothing there. Where there is no input
    gate with weights (nig, cifg), what a form puts into its row is left out.

    Args:
      hidden: H.
      variant: a name of ABLATIONS.
      forget_bias: as in `lstm`.
      forget_bias_trainable: as in `lstm`.
      gate_activation: of i, f and o, as in `lstm`.
      activation: in place of both tanh, where the variant has them.
      init: "lecun", "torch" or "uniform(a)".
      dtype: compute dtype; parameters, gate sums, gates and c stay float32.
      layer: index of this layer.
      layers: L.

    Raises:
      UserError: an unknown variant, or what `lstm` refuses.
    """
    row = lookup(ABLATIONS, variant, "variant of the cell 'greff'")
    squash, bend = activation_function(gate_activation), activation_function(activation)
    name = cell_name("greff", (gate_activation, activation))
    bend_in = bend if row.bent_in else ACTIVATIONS["identity"]
    bend_out = bend if row.bent_out else ACTIVATIONS["identity"]

    def update(params: Params, carry: Carry, z: Array, r: Array) -> tuple[Carry, Array, Trace]:
        sums = dict(zip(row.gates, split_gates(z + r), strict=True))

        def gate(name: str, c: Array) -> Array | None:
            if name not in sums:
                return None
            if not row.peepholes:
                return squash(sums[name])
            return squash(sums[name] + params["peephole"][row.sigmoids.index(name)] * c)

        i, f = gate("i", carry.c), gate("f", carry.c)
        if row.coupled and f is not None:
            i = 1.0 - f
        after, y, trace = lstm_state(carry, i, f, bend_in(sums["g"]), partial(gate, "o"), bend_out)
        if row.gates_recur:
            return GatesCarry(*after, i=trace["i"], f=trace["f"], o=trace["o"]), y, trace
        return after, y, trace

    def extra(key: Key, draws: Initializer) -> Params:
        own: Params = {}
        if row.peepholes:
            own["peephole"] = draws.vector(key, (len(row.sigmoids), hidden))
        if row.gates_recur:
            own["w_h_gates"] = draws.w_h(key, (3 * hidden, 3, hidden))
        return own

    bias = plain_rows
    if "f" in row.gates:
        bias = bias_rows(
            forget_bias,
            trainable=forget_bias_trainable,
            layer=layer,
            layers=layers,
            forget_row=row.gates.index("f"),
            input_row=row.gates.index("i") if "i" in row.gates else None,
        )
    carry_type = GatesCarry if row.gates_recur else LSTMCarry
    cell = gated(
        name, hidden, len(row.gates), carry_type, update, init=init, dtype=dtype, bias=bias, extra=extra
    )
    return cell._replace(recur=_with_gates(cell)) if row.gates_recur else cell


def _with_gates(cell: Cell) -> Any:
    def recur(params: Params, carry: GatesCarry) -> Array:
        r = cell.recur(params, carry)
        gates = jnp.concatenate([carry.i, carry.f, carry.o], -1).astype(carry.h.dtype)
        to_i, to_f, to_o = split_gates(product(gates, params["w_h_gates"]))
        return r + jnp.stack([to_i, to_f, jnp.zeros_like(to_i), to_o], 1)

    return recur


def peephole(
    hidden: int,
    *,
    forget_bias: ForgetBias = 1.0,
    forget_bias_trainable: bool = True,
    gate_activation: Activation = "sigmoid",
    activation: Activation = "tanh",
    init: str | Initializer = "lecun",
    dtype: Any = jnp.float32,
    layer: int = 0,
    layers: int = 1,
) -> Cell:
    """The LSTM whose gates see its state: i and f see c, o sees the new c (Gers & Schmidhuber 2000).

    The vanilla variant of `greff`, where the equations stand; its arguments, too. Gers 2000 has no tanh on
    the way out, which is the option variant "noaf" there.
    """
    return greff(
        hidden,
        forget_bias=forget_bias,
        forget_bias_trainable=forget_bias_trainable,
        gate_activation=gate_activation,
        activation=activation,
        init=init,
        dtype=dtype,
        layer=layer,
        layers=layers,
    )._replace(name=cell_name("peephole", (gate_activation, activation)))
