"""Where the forget gate starts: every published form of the initial forget bias, as values in `b`.

A cell's equations know nothing of this file. The forms fill the forget gate's row of the bias, and where
the form says so the input gate's row with the opposite sign, so that f + i = 1 at zero input.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.cells.spec import Call, parse_call, split_outside_parentheses
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params
from lstm_jax.support.pytrees import FIXED
from lstm_jax.support.registry import lookup

__all__ = [
    "FORMS",
    "BiasRows",
    "ForgetBias",
    "Form",
    "bias_rows",
    "chrono",
    "constant",
    "inverse_gamma",
    "parse",
    "plain_rows",
    "powerlaw",
    "timescale",
    "uniform_gate",
]


class Form(NamedTuple):
    """One form of the initial forget bias.

    Attributes:
      draw: (key, hidden) -> [H] float32 values.
      opposite: True where the input gate's bias starts at minus the forget gate's.
    """

    draw: Callable[[Key, int], Array]
    opposite: bool = False


ForgetBias: TypeAlias = float | Array | str | Form | Callable[[Key, int], Array] | Sequence[Any]
"""What the argument `forget_bias` of a cell accepts; see `parse`."""


def constant(value: float | Array) -> Form:
    """The same number for every unit, or [H] numbers. May be traced, so that a sweep can vmap over it.

    When drawn, raises UserError for another shape.

    1 is the usual choice (Gers 2000; Jozefowicz 2015); 0 is Zaremba 2014.
    """

    def draw(key: Key, hidden: int) -> Array:
        filled = jnp.asarray(value, jnp.float32)
        if filled.shape not in ((), (hidden,)):
            raise UserError(f"forget_bias has shape {filled.shape}; allowed: a number, or [{hidden}] of them")
        return jnp.broadcast_to(filled, (hidden,))

    return Form(draw)


def chrono(longest: float) -> Form:
    """b_f ~ log U(1, T_max - 1), b_i = -b_f (Tallec & Ollivier 2018); `longest` is T_max in steps.

    Raises UserError unless T_max exceeds 2.
    """
    if longest <= 2:
        raise UserError(f"chrono({longest:g}): T_max must exceed 2 steps, for log U(1, T_max - 1)")

    def draw(key: Key, hidden: int) -> Array:
        return jnp.log(jax.random.uniform(key, (hidden,), jnp.float32, 1.0, longest - 1.0))

    return Form(draw, opposite=True)


def uniform_gate() -> Form:
    """b_f = -log(1/u - 1), u ~ U(1/H, 1 - 1/H), so that f starts uniform in (0, 1) (Gu 2020).

    When drawn, raises UserError for fewer than 2 units.
    """

    def draw(key: Key, hidden: int) -> Array:
        if hidden < 2:
            raise UserError("forget_bias 'uniform' needs at least 2 hidden units, for u ~ U(1/H, 1 - 1/H)")
        u = jax.random.uniform(key, (hidden,), jnp.float32, 1.0 / hidden, 1.0 - 1.0 / hidden)
        return -jnp.log(1.0 / u - 1.0)

    return Form(draw)


def _from_rate(rate: Array) -> Array:
    """-log(e^rate - 1) for rate = 1/T, written so that neither end overflows."""
    rate = jnp.maximum(rate, jnp.finfo(jnp.float32).tiny)
    return -rate - jnp.log(-jnp.expm1(-rate))


def timescale(*steps: float) -> Form:
    """b_f = -log(e^(1/T) - 1), b_i = -b_f: at zero input f = exp(-1/T), memory decays by e in T steps.

    Raises UserError unless every T of `steps` is positive.

    Mahto 2021. Several T share the units in equal blocks: the paper's first layer is
    `timescale(3, 4)`, half of the units each.
    """
    if not steps or min(steps) <= 0:
        raise UserError(f"timescale{steps}: T is one or more positive numbers of steps, e.g. timescale(20)")

    def draw(key: Key, hidden: int) -> Array:
        blocks = np.asarray(steps, np.float64)[np.arange(hidden) * len(steps) // hidden]
        return _from_rate(jnp.asarray(1.0 / blocks, jnp.float32))

    return Form(draw, opposite=True)


def inverse_gamma(alpha: float, scale: float = 1.0) -> Form:
    """As `timescale`, with T ~ InverseGamma(alpha, scale) drawn for each unit (Mahto 2021: 0.56 and 1).

    Raises UserError unless `alpha` and `scale` are positive.
    """
    if alpha <= 0 or scale <= 0:
        raise UserError(f"timescale(inverse_gamma, {alpha:g}, {scale:g}): alpha and scale must be positive")

    def draw(key: Key, hidden: int) -> Array:
        return _from_rate(jax.random.gamma(key, alpha, (hidden,), jnp.float32) / scale)

    return Form(draw, opposite=True)


def powerlaw(layer: int = 0, layers: int = 1) -> Form:
    """b_f = 5 - 12 (j / (H - 1))^(0.3 + 1.3 l / (L - 1)) for unit j of layer l (xLSTM's sLSTM, Beck 2024)."""
    power = 0.3 + 1.3 * layer / max(layers - 1, 1)

    def draw(key: Key, hidden: int) -> Array:
        return jnp.asarray(5.0 - 12.0 * (np.arange(hidden) / max(hidden - 1, 1)) ** power, jnp.float32)

    return Form(draw)


def _chrono(call: Call, layer: int, layers: int) -> Form:
    return chrono(*call.numbers(1, "T_max in steps, e.g. chrono(784)"))


def _timescale(call: Call, layer: int, layers: int) -> Form:
    if call.args[:1] == ("inverse_gamma",):
        rest = call._replace(args=call.args[1:])
        return inverse_gamma(*rest.numbers(2, "inverse_gamma, alpha, scale, e.g. (inverse_gamma, 0.56, 1)"))
    return timescale(*call.numbers(None, "T in steps, e.g. timescale(20), or (inverse_gamma, alpha, scale)"))


def _uniform_gate(call: Call, layer: int, layers: int) -> Form:
    if call.args:
        raise UserError(f"forget_bias {call.text!r}: uniform takes no arguments; its bounds follow from H")
    return uniform_gate()


def _powerlaw(call: Call, layer: int, layers: int) -> Form:
    if call.args:
        raise UserError(f"forget_bias {call.text!r}: powerlaw takes no arguments; it follows from the layer")
    return powerlaw(layer, layers)


FORMS: dict[str, Callable[[Call, int, int], Form]] = {
    "chrono": _chrono,
    "uniform": _uniform_gate,
    "timescale": _timescale,
    "powerlaw": _powerlaw,
}
"""The forms that a string can name, besides a number."""


def parse(spec: ForgetBias, layer: int = 0, layers: int = 1) -> Form:
    """The form that `spec` means for one layer.

    Args:
      spec: a number or [H] array (may be traced); a string: a number, a name of FORMS with its arguments,
        or one of these a layer between commas ("0,1,2", "chrono(784),1"); a sequence, one a layer;
        a function (key, hidden) -> [H]; or a Form.
      layer: index of this layer, from the input up.
      layers: L.

    Raises:
      UserError: an unknown form, bad arguments, a number that is not finite, or as many values as there are
        not layers.
    """
    if isinstance(spec, str):
        spec = split_outside_parentheses(spec)
        if len(spec) == 1:
            return _parse_text(spec[0], layer, layers)
    if isinstance(spec, Form):
        return spec
    if isinstance(spec, list | tuple):
        if len(spec) != layers:
            raise UserError(
                f"forget_bias {', '.join(map(str, spec))!r} gives {len(spec)} values for {layers} layers; "
                "give one value for all, or one a layer"
            )
        one = spec[layer]
        return _parse_text(one, layer, layers) if isinstance(one, str) else parse(one, layer, layers)
    if callable(spec):
        return Form(spec)
    if spec is None:
        raise UserError(f"forget_bias None is no value; allowed: a number, {', '.join(FORMS)}, or a function")
    if isinstance(spec, int | float | np.ndarray | np.generic):  # an array of jax's may be traced
        _need_finite(spec, spec)
    return constant(jnp.asarray(spec))


def _need_finite(value: Any, shown: Any) -> None:
    if not np.all(np.isfinite(value)):
        raise UserError(f"forget_bias {shown!r} is not finite; try 1, or a large number such as 20")


def _parse_text(text: str, layer: int, layers: int) -> Form:
    try:
        value = float(text)
    except ValueError:
        call = parse_call(text, "forget_bias")
        return lookup(FORMS, call.name, "forget_bias")(call, layer, layers)
    _need_finite(value, text)
    return constant(value)


class BiasRows(NamedTuple):
    """How a cell keeps its bias.

    Attributes:
      init: (key, b [G, H]) -> dict of leaves; `b` is the initializer's own draw.
      read: params -> b [G, H] as the gates see it.
    """

    init: Callable[[Key, Array], Params]
    read: Callable[[Params], Array]


plain_rows = BiasRows(init=lambda key, b: {"b": b}, read=lambda params: params["b"])
"""A bias without a forget gate."""


def bias_rows(
    spec: ForgetBias,
    *,
    trainable: bool = True,
    layer: int = 0,
    layers: int = 1,
    forget_row: int = 1,
    input_row: int | None = 0,
) -> BiasRows:
    """A bias whose forget gate starts as `spec` says.

    Trainable: the form is added to the initializer's own draw. Not trainable: the form alone, without that
    draw, lies in the leaf `b_fixed` [G, H]; those rows of `b` are 0 and, masked here, stay without effect
    and gradient, so that Mahto's time scales hold exactly.

    Args:
      spec: see `parse`.
      trainable: False freezes the rows that the form fills.
      layer: index of this layer.
      layers: L.
      forget_row: the forget gate's row of b.
      input_row: the input gate's row, or None for a cell that has none (coupled gates).

    Raises:
      UserError: from `parse`.
    """
    form = parse(spec, layer, layers)
    opposite_row = input_row if form.opposite else None
    fixed = "b" + FIXED
    rows = [row for row in (forget_row, opposite_row) if row is not None]

    def fill(key: Key, gates: int, hidden: int) -> Array:
        values = jnp.asarray(form.draw(key, hidden), jnp.float32)
        if values.shape != (hidden,):
            raise UserError(f"the forget_bias function returned shape {values.shape}; it must be [{hidden}]")
        filled = jnp.zeros((gates, hidden), jnp.float32).at[forget_row].set(values)
        return filled if opposite_row is None else filled.at[opposite_row].set(-values)

    def free(b: Array) -> Array:
        return b * (~np.isin(np.arange(b.shape[0]), rows))[:, None].astype(b.dtype)

    def init(key: Key, b: Array) -> Params:
        filled = fill(key, *b.shape)
        return {"b": b + filled} if trainable else {"b": free(b), fixed: filled}

    def read(params: Params) -> Array:
        if trainable:
            return params["b"]
        return free(params["b"]) + jax.lax.stop_gradient(params[fixed])

    return BiasRows(init, read)
