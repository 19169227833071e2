"""Weight drop: a recurrent weight with holes, the same holes for a whole window (Merity 2017; Wan 2013)."""

import jax
import jax.numpy as jnp

from lstm_jax.cells.base import Cell
from lstm_jax.cells.rates import rate_is_zero
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params, Tree
from lstm_jax.support.rng import stream

__all__ = ["weight_drop"]


def weight_drop(cell: Cell, rate: float | Array, leaves: tuple[str, ...] | None = None) -> Cell:
    """The cell with each entry of its recurrent weight dropped with probability `rate` in training.

    One mask a window, drawn in `prepare`; kept entries are divided by 1 - rate, so evaluation (key None)
    uses the weights as they are. Rate 0 is the cell itself.

    Args:
      cell: any cell with the named leaves.
      rate: in [0, 1); may be traced.
      leaves: names of the parameters that drop; None: `w_h`, and with it every other named w_h_...

    Raises:
      UserError: a bad rate; at `prepare`, a cell without one of the leaves (it must not do nothing silently).
    """
    if rate_is_zero(rate, "weight drop", below_one=True):
        return cell

    def prepare(params: Params, xs: Array, key: Key | None) -> tuple[Params, Tree]:
        wanted = leaves or ("w_h", *(leaf for leaf in params if leaf.startswith("w_h_")))
        missing = [leaf for leaf in wanted if leaf not in params]
        if missing:
            raise UserError(
                f"weight drop: cell {cell.name!r} has no parameter {missing[0]!r}; it has {', '.join(params)}"
            )
        if key is not None:
            own = stream(key, "weight_drop")
            params = dict(params)
            for leaf in wanted:
                kept = jax.random.bernoulli(stream(own, leaf), 1.0 - rate, params[leaf].shape)
                params[leaf] = jnp.where(kept, params[leaf] / (1.0 - rate), 0.0)
        return cell.prepare(params, xs, key)

    return cell._replace(prepare=prepare, wrappers=(*cell.wrappers, "weight_drop"))
