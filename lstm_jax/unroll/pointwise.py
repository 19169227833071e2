"""Pointwise functions as C: what a cell's `update` does to ONE unit of ONE sequence, read off its jaxpr.

A function of arrays [B, ..., H] that mixes neither sequences nor units is traced at B = H = 1. What is left
of its arrays are a few scalars (the gates), whose reshapes, slices and concatenations are done here, in
NumPy, on arrays of names. Only arithmetic on scalars reaches the kernel.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from lstm_jax.support.notation import Tree

__all__ = ["STRUCTURAL", "Code", "Refused", "Scalar", "inner_jaxpr", "scalars"]


class Refused(Exception):
    """Why a function cannot become such code, as a clause ("it ...")."""


@dataclasses.dataclass(frozen=True)
class Scalar:
    """A number in the kernel: its C expression (a name or a literal) and its dtype in JAX."""

    text: str
    dtype: Any


def scalars(name: str, tree: Tree, first: int = 0) -> tuple[list[np.ndarray], int]:
    """Names for every number of a tree's leaves, name[first], name[first + 1], ..., and the next index."""
    named = []
    for leaf in jax.tree.leaves(tree):
        size = int(np.prod(leaf.shape))
        array = np.empty(size, object)
        for n in range(size):
            array[n] = _read(f"{name}[{first + n}]", np.dtype(leaf.dtype))
        named.append(array.reshape(leaf.shape))
        first += size
    return named, first


def _read(text: str, dtype: Any) -> Scalar:
    """A number that the kernel keeps as float, whatever its dtype in JAX."""
    return Scalar(f"({text} != 0.0f)" if dtype == np.bool_ else text, dtype)


_INFIX = {
    **{"add": "+", "add_any": "+", "sub": "-", "mul": "*", "div": "/"},
    **{"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="},
    **{"and": "&", "or": "|", "xor": "^"},
}
_CALLS = {
    **{"max": "fmaxf", "min": "fminf", "exp": "expf", "exp2": "exp2f", "log": "logf", "log1p": "log1pf"},
    **{"expm1": "expm1f", "tanh": "tanhf", "sqrt": "sqrtf", "sin": "sinf", "cos": "cosf", "pow": "powf"},
    **{"abs": "fabsf", "floor": "floorf", "ceil": "ceilf", "erf": "erff", "atan2": "atan2f"},
    **{"logistic": "logistic", "sign": "sign_of"},
}


def _literal(value: Any, dtype: Any) -> Scalar:
    if dtype == np.bool_:
        return Scalar("true" if value else "false", dtype)
    if np.issubdtype(dtype, np.integer):
        return Scalar(str(int(value)), dtype)
    number = float(value)
    if np.isnan(number) or np.isinf(number):
        text = "NAN_F" if np.isnan(number) else "INF_F" if number > 0 else "(-INF_F)"
    else:
        text = f"{float(np.float32(number))!r}f"
    return Scalar(f"({text})" if text.startswith("-") else text, dtype)


def _power(x: str, exponent: int) -> str:
    product = "*".join([x] * abs(exponent)) or "1.0f"
    return f"({product})" if exponent >= 0 else f"(1.0f/({product}))"


def _expression(name: str, texts: list[str], dtype: Any, params: dict[str, Any], kinds: list[Any]) -> str:
    if name in _INFIX:
        return f"({texts[0]} {_INFIX[name]} {texts[1]})"
    if name in _CALLS and not (kinds and np.issubdtype(kinds[0], np.integer)):
        return f"{_CALLS[name]}({', '.join(texts)})"
    special: dict[str, Callable[[], str]] = {
        "neg": lambda: f"(-{texts[0]})",
        "not": lambda: f"(!{texts[0]})" if dtype == np.bool_ else f"(~{texts[0]})",
        "rsqrt": lambda: f"(1.0f/sqrtf({texts[0]}))",
        "square": lambda: _power(texts[0], 2),
        "one_minus_square": lambda: f"(1.0f - {_power(texts[0], 2)})",
        "integer_pow": lambda: _power(texts[0], params["y"]),
        "clamp": lambda: f"fminf(fmaxf({texts[1]}, {texts[0]}), {texts[2]})",
        "is_finite": lambda: f"(fabsf({texts[0]}) < INF_F)",
        "copy": lambda: texts[0],
        "copy_p": lambda: texts[0],
        "stop_gradient": lambda: texts[0],
        "reduce_precision": lambda: texts[0],
        "convert_element_type": lambda: _converted(texts[0], kinds[0], dtype),
    }
    if name == "select_n" and len(texts) == 3:
        return f"({texts[0]} ? {texts[2]} : {texts[1]})"
    if name not in special:
        raise Refused(f"it has no code for the primitive {name!r} of this cell's update")
    return special[name]()


def _converted(text: str, old: Any, new: Any) -> str:
    if new == np.bool_:
        return f"({text} != 0)"
    if np.issubdtype(new, np.integer):
        return f"((int){text})"
    return text if not (old == np.bool_ or np.issubdtype(old, np.integer)) else f"((float){text})"


def _slice(a: np.ndarray, params: dict[str, Any]) -> np.ndarray:
    strides = params["strides"] or (1,) * a.ndim
    at = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return a[tuple(slice(*ends) for ends in at)]


def _broadcast(a: np.ndarray, params: dict[str, Any]) -> np.ndarray:
    shape = [1] * len(params["shape"])
    for axis, place in enumerate(params["broadcast_dimensions"]):
        shape[place] = a.shape[axis]
    return np.broadcast_to(a.reshape(shape), params["shape"])


def _split(a: np.ndarray, params: dict[str, Any]) -> list[np.ndarray]:
    return np.split(a, np.cumsum(params["sizes"])[:-1], axis=params["axis"])


def _pad(a: np.ndarray, value: np.ndarray, params: dict[str, Any]) -> np.ndarray:
    config = params["padding_config"]
    shape = [low + high + n + (n - 1) * inner for n, (low, high, inner) in zip(a.shape, config, strict=True)]
    if any(low < 0 or high < 0 for low, high, _ in config):
        raise Refused("it has no code for a negative pad")
    out = np.empty(shape, object)
    out[...] = value.item() if value.ndim == 0 else value
    at = [
        slice(low, low + n + (n - 1) * inner, inner + 1)
        for n, (low, _, inner) in zip(a.shape, config, strict=True)
    ]
    out[tuple(at)] = a
    return out


STRUCTURAL: dict[str, Callable[..., Any]] = {
    "reshape": lambda a, params: a.reshape(params["new_sizes"]),
    "squeeze": lambda a, params: np.squeeze(a, tuple(params["dimensions"])),
    "expand_dims": lambda a, params: np.expand_dims(a, tuple(params["dimensions"])),
    "transpose": lambda a, params: a.transpose(params["permutation"]),
    "rev": lambda a, params: np.flip(a, tuple(params["dimensions"])),
    "slice": _slice,
    "split": _split,
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda *args: np.concatenate(args[:-1], axis=args[-1]["dimension"]),
    "pad": _pad,
}
"""Primitives that only move numbers: (arrays of anything, the equation's params) -> array or arrays."""


def inner_jaxpr(eqn: Any) -> tuple[Any, Sequence[Any]] | None:
    """The jaxpr and constants of an equation that only calls another function, else None."""
    names = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "checkpoint")
    if eqn.primitive.name not in (*names, "custom_vjp_call_jaxpr", "remat", "remat2"):
        return None
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if key in eqn.params:
            inner = eqn.params[key]
            return (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, ())
    raise Refused(f"it has no code for the primitive {eqn.primitive.name!r}")


class Code:
    """Statements of C, one scalar each.

    Attributes:
      lines: `const float v0 = ...;` and so on.
    """

    def __init__(self, prefix: str, *, may_sum: bool = False) -> None:
        """`may_sum`: whether sums over axes may occur, as in the transpose of a broadcast."""
        self.lines: list[str] = []
        self._prefix, self._may_sum = prefix, may_sum
        self._known: dict[tuple[str, str], str] = {}

    def add(self, function: Callable[..., Tree], shapes: Sequence[Tree], args: Sequence[np.ndarray]) -> Tree:
        """Adds the statements of `function`, traced for arguments of `shapes` whose numbers are `args`.

        Returns:
          What the function returns, an array of `Scalar` in the place of each leaf.

        Raises:
          Refused: it does more than pointwise arithmetic.
        """
        closed, out = jax.make_jaxpr(function, return_shape=True)(*shapes)
        consts = [self._constant(const) for const in closed.consts]
        results = self._run(closed.jaxpr, consts, list(args))
        return jax.tree.unflatten(jax.tree.structure(out), results)

    def _constant(self, value: Any) -> np.ndarray:
        if isinstance(value, jax.core.Tracer) or np.size(value) != 1:
            raise Refused("it cannot take in an array that this cell's update closes over")
        value = np.asarray(value)
        array = np.empty(value.shape, object)
        array[...] = _literal(value.reshape(()), value.dtype)
        return array

    def _run(self, jaxpr: Any, consts: Sequence[np.ndarray], args: Sequence[np.ndarray]) -> list[np.ndarray]:
        env = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))

        def read(var: Any) -> np.ndarray:
            return self._constant(var.val) if isinstance(var, Literal) else env[var]

        for eqn in jaxpr.eqns:
            args = [read(var) for var in eqn.invars]
            inner = inner_jaxpr(eqn)
            if inner is not None:
                body, constants = inner
                outs = self._run(body, [self._constant(const) for const in constants], args)
            else:
                outs = self._step(eqn, args)
            env.update(zip(eqn.outvars, outs, strict=True))
        return [read(var) for var in jaxpr.outvars]

    def _step(self, eqn: Any, args: list[np.ndarray]) -> list[np.ndarray]:
        name, aval = eqn.primitive.name, eqn.outvars[0].aval
        if name in STRUCTURAL:
            out = STRUCTURAL[name](*args, eqn.params)
            return list(out) if isinstance(out, list) else [out]
        if name == "reduce_sum":
            if not self._may_sum:
                raise Refused("it cannot sum over units or sequences, as this cell's update does")
            return [self._sum(args[0], eqn.params["axes"], aval)]
        args = list(np.broadcast_arrays(*args)) if len(args) > 1 else args
        out = np.empty(args[0].shape, object)
        for at in np.ndindex(out.shape):
            given: list[Any] = [arg[at] for arg in args]
            out[at] = self._emit(name, given, np.dtype(aval.dtype), eqn.params)
        return [out]

    def _sum(self, array: np.ndarray, axes: Sequence[int], aval: Any) -> np.ndarray:
        dtype = np.dtype(aval.dtype)
        moved = np.moveaxis(array, tuple(axes), tuple(range(len(axes))))
        rows = moved.reshape(-1, *aval.shape)
        total = rows[:1].reshape(aval.shape).copy()
        for n in range(1, len(rows)):
            for at in np.ndindex(total.shape):
                pair: list[Any] = [total[at], rows[(n, *at)]]
                total[at] = self._emit("add", pair, dtype, {})
        return total

    def _emit(self, name: str, given: list[Scalar], dtype: Any, params: dict[str, Any]) -> Scalar:
        texts, kinds = [scalar.text for scalar in given], [scalar.dtype for scalar in given]
        text = _expression(name, texts, dtype, params, kinds)
        if name in ("add", "add_any") and "0.0f" in texts and dtype != "bfloat16":
            return Scalar(texts[1] if texts[0] == "0.0f" else texts[0], dtype)
        if text in texts and (name != "convert_element_type" or dtype != "bfloat16" or kinds[0] == dtype):
            return Scalar(text, dtype)  # nothing happens to it
        if dtype == "bfloat16":
            text = f"round_bf16({text})"
        kind = "bool" if dtype == np.bool_ else "int" if np.issubdtype(dtype, np.integer) else "float"
        if (kind, text) not in self._known:
            self._known[kind, text] = f"{self._prefix}{len(self.lines)}"
            self.lines.append(f"const {kind} {self._known[kind, text]} = {text};")
        return Scalar(self._known[kind, text], dtype)
