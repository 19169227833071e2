"""The frame of cells whose units recur by themselves: recurrent weights are a vector a gate."""

from collections.abc import Callable
from typing import Any

from lstm_jax.cells.base import Carry, Cell
from lstm_jax.cells.gated import gated, wide
from lstm_jax.cells.initializers import Draw, Initializer
from lstm_jax.support.notation import Array, Key, Params
from lstm_jax.support.rng import stream

__all__ = ["diagonal"]


def diagonal(
    name: str,
    hidden: int,
    gates: int,
    carry_type: Callable[..., Carry],
    update: Callable[..., Any],
    *,
    w_h: Draw | None = None,
    extra: Callable[[Key, Initializer], Params] | None = None,
    **options: Any,
) -> Cell:
    """A cell of G gates over z = x w_x + b and r = h * w_h, elementwise, with `w_h` [G, H].

    The Jacobian of its step is H small blocks, so the backend "newton" runs all steps in parallel.

    Args:
      name: as in `gated`, like all that is not named here.
      hidden: H.
      gates: G.
      carry_type: with a field `h`.
      update: as in `Cell`.
      w_h: (key, [G, H]) -> initial recurrent weights; None: drawn as an input weight of fan-in 3, so
        that most are below 1 ("lecun": the variance of U(-1, 1)). With fan-in 1 Newton's method needs more
        iterations, or does not converge (experiments/LOG.md).
      extra: further leaves.
      options: of `gated`.
    """

    def own(key: Key, draws: Initializer) -> Params:
        key_h = stream(key, "w_h")
        drawn = w_h(key_h, (gates, hidden)) if w_h else draws.w_x(key_h, (3, gates, hidden))[0]
        return {"w_h": drawn, **(extra(key, draws) if extra else {})}

    def recur(params: Params, carry: Carry) -> Array:
        return carry.h[:, None].astype(wide(carry.h.dtype)) * params["w_h"]

    inner = gated(name, hidden, gates, carry_type, update, extra=own, source=0, **options)
    return inner._replace(recur=recur)
