"""Zoneout: units that keep their last value instead of being dropped (Krueger 2017)."""

from typing import Any

import jax
import jax.numpy as jnp

from lstm_jax.cells.base import Carry, Cell, Trace
from lstm_jax.cells.gated import wide
from lstm_jax.cells.rates import rate_is_zero
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Key, Params, Tree
from lstm_jax.support.rng import stream

__all__ = ["zoneout"]


def _mix(rate: Any, keep: Array | None, old: Array, new: Array) -> Array:
    if keep is not None:
        return jnp.where(keep, old, new)
    exact = wide(new.dtype)  # h may be bfloat16; rounding once, at the end
    return (rate * old.astype(exact) + (1.0 - rate) * new.astype(exact)).astype(new.dtype)


def zoneout(cell: Cell, cell_rate: float | Array = 0.0, hidden_rate: float | Array = 0.0) -> Cell:
    """The cell whose units of c and of h each keep their last value with a probability.

    c' = d_c c + (1 - d_c) (f c + i g) and h' = d_h h + (1 - d_h) o tanh(f c + i g), with d_c and d_h
    Bernoulli, one for each step, sequence and unit, drawn in `prepare`: h is computed from the new c
    before that is mixed (Krueger 2017). With key None d is its expectation, the rate. y is the mixed h.

    The trace has the gates as they act on c, which time scales follow from: d_c + (1 - d_c) f as f, and
    (1 - d_c) i as i.

    Args:
      cell: a cell whose carry has a field "h" that is also its y, and a field "c" where cell_rate is used.
      cell_rate: probability for c, in [0, 1]; may be traced.
      hidden_rate: probability for h, in [0, 1]; may be traced.

    Raises:
      UserError: a bad rate; when run, a cell without the field, whose y is not its h, or whose memory is not
        its c by itself (sLSTM).
    """
    rates = {}
    if not rate_is_zero(cell_rate, "zoneout cell"):
        rates["c"] = cell_rate
    if not rate_is_zero(hidden_rate, "zoneout hidden"):
        rates["h"] = hidden_rate
    if not rates:
        return cell

    def prepare(params: Params, xs: Array, key: Key | None) -> tuple[Params, Tree]:
        sample = jax.eval_shape(lambda p: cell.carry(p, xs.shape[1]), params)
        for field in rates:
            if field not in sample._fields:
                raise UserError(
                    f"zoneout: cell {cell.name!r} has no state {field!r}, only {', '.join(sample._fields)}; "
                    f"set {'zoneout_cell' if field == 'c' else 'zoneout_hidden'} to 0"
                )
        params, zs = cell.prepare(params, xs, key)
        if key is None:
            return params, (zs, {})
        own = stream(key, "zoneout")
        keep = {
            field: jax.random.bernoulli(stream(own, field), rate, xs.shape[:1] + getattr(sample, field).shape)
            for field, rate in rates.items()
        }
        return params, (zs, keep)

    def update(params: Params, carry: Carry, z: Tree, r: Array) -> tuple[Carry, Array, Trace]:
        inner, keep = z
        new, y, trace = cell.update(params, carry, inner, r)
        if "h" in rates and y is not new.h:
            raise UserError(f"zoneout: the output of cell {cell.name!r} is not h; set zoneout_hidden to 0")
        if "c" in rates:
            if trace.get("c", new.c) is not new.c:
                raise UserError(
                    f"zoneout: the memory of cell {cell.name!r} is not its c by itself; set zoneout_cell to 0"
                )
            acting = {
                name: _mix(cell_rate, keep.get("c"), jnp.full_like(trace[name], kept), trace[name])
                for name, kept in (("f", 1.0), ("i", 0.0))
                if name in trace
            }
            trace = {**trace, **acting}
        mixed = {
            field: _mix(rate, keep.get(field), getattr(carry, field), getattr(new, field))
            for field, rate in rates.items()
        }
        new = new._replace(**mixed)
        if "c" in rates and "c" in trace:
            trace = {**trace, "c": new.c}
        return new, new.h if "h" in rates else y, trace

    return cell._replace(prepare=prepare, update=update, affine=None, wrappers=(*cell.wrappers, "zoneout"))
