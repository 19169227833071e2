"""Every cell a second time, in plain NumPy float64, written from the papers and not from lstm_jax.

To register a cell in `lstm_jax.cells.CELLS` is to owe an entry in one of three tables here:
  ORACLES: name -> step, for one sequence's vectors: (params, carry as a dict of arrays without B, x [D], and
    by name the cell's options that change its equations) -> carry, y, trace as a dict;
  REDUCTIONS: name -> "test_file.py::test_name", a test that it equals a cell that has an oracle;
  WAIVERS: name -> the reason why neither can be had.
Each module of this package that has such tables, and FACTS (name -> `Facts`), adds them by being here.
"""

import functools
import importlib
import inspect
import pkgutil

import numpy as np

from lstm_jax import cells
from tests.oracles.frame import Facts, preactivation, sigmoid

__all__ = [
    "FACTS",
    "ORACLES",
    "REDUCTIONS",
    "WAIVERS",
    "Facts",
    "facts",
    "preactivation",
    "run",
    "sigmoid",
    "small",
    "to_numpy",
    "zoned_out",
]


def _merged(table):
    merged = {}
    for module in sorted(found.name for found in pkgutil.iter_modules(__path__)):
        entries = getattr(importlib.import_module(f"{__name__}.{module}"), table, {})
        assert not set(entries) & set(merged), f"{table} has {set(entries) & set(merged)} twice"
        merged |= entries
    return merged


ORACLES, REDUCTIONS, WAIVERS, FACTS = map(_merged, ("ORACLES", "REDUCTIONS", "WAIVERS", "FACTS"))


def facts(name):
    """The Facts of the cell `name`, whatever its functions; the plainest cell's where FACTS has none."""
    return FACTS.get(name.partition("(")[0], Facts())


def small(name, hidden, **options):
    """The cell `name` as the tests build it: with `hidden` units where any number will do."""
    return cells.make_cell(name, facts(name).hidden or hidden, **(facts(name).options | options))


def zoned_out(step, kept):
    """A step after which the units that `kept` says keep their last value: field -> 1, 0, or the rate [H]."""

    def zoned(p, carry, x):
        new, y, trace = step(p, carry, x)
        for field, d in kept.items():
            new[field] = d * carry[field] + (1 - d) * new[field]
        if "c" in trace:
            trace = {**trace, "c": new["c"]}
        if "c" in kept:  # c' = (d + (1 - d) f) c + (1 - d) i g
            d = kept["c"]
            gates = {"f": lambda f: d + (1 - d) * f, "i": lambda i: (1 - d) * i}
            trace |= {name: gates[name](trace[name]) for name in gates if name in trace}
        return new, new["h"] if "h" in kept else y, trace

    return zoned


def to_numpy(tree):
    """A dict or NamedTuple of arrays as a dict of float64 arrays."""
    items = tree.items() if isinstance(tree, dict) else tree._asdict().items()
    return {name: np.asarray(leaf, np.float64) for name, leaf in items}


def run(name, params, carry, xs, kept=None, options=None):
    """A whole sequence: carry fields [B, ...], xs [T, B, D] -> last carry, ys [T, B, H], trace [T, B, ...].

    `kept` is the zoneout of each step: field -> [T, B, H]. Of the cell's `options` the oracle is given those
    that it asks for by name.
    """
    params, carry, xs = to_numpy(params), to_numpy(carry), np.asarray(xs, np.float64)
    times, batch = xs.shape[:2]
    asked = inspect.signature(ORACLES[name]).parameters
    options = {key: value for key, value in (options or {}).items() if key in asked}
    plain = functools.partial(ORACLES[name], **options)
    last, ys, traces = [], [], []
    for b in range(batch):
        state = {field: value[b] for field, value in carry.items()}
        for t in range(times):
            step = plain
            if kept is not None:
                step = zoned_out(step, {field: np.float64(d[t, b]) for field, d in kept.items()})
            state, y, trace = step(params, state, xs[t, b])
            ys.append(y)
            traces.append(trace)
        last.append(state)

    def time_major(rows):
        return np.swapaxes(np.stack(rows).reshape(batch, times, *np.shape(rows[0])), 0, 1)

    carry = {field: np.stack([state[field] for state in last]) for field in carry}
    return carry, time_major(ys), {gate: time_major([trace[gate] for trace in traces]) for gate in traces[0]}
