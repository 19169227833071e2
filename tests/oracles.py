"""Every cell a second time, in plain NumPy float64, written from the papers and not from lstm_jax.

A step takes one sequence's vectors: (params, carry as a dict of [H] arrays, x [D]) -> carry, y [H], trace.
To register a cell in `lstm_jax.cells.CELLS` is to owe a line in ORACLES here.
"""

import numpy as np


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def preactivation(p, h, x, gate):
    """The sum of gate number `gate` for each unit, element by element."""
    total = p["b"][gate] + p.get("b_fixed", np.zeros_like(p["b"]))[gate]
    for d in range(len(x)):
        total = total + x[d] * p["w_x"][d, gate]
    for j in range(len(h)):
        total = total + h[j] * p["w_h"][j, gate]
    return total


def lstm(p, carry, x):
    i, f, g, o = (preactivation(p, carry["h"], x, gate) for gate in range(4))
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * carry["c"] + i * g
    h = o * np.tanh(c)
    return {"c": c, "h": h}, h, {"i": i, "f": f, "g": g, "o": o, "c": c}


def gru(p, carry, x):
    h = carry["h"]
    r = sigmoid(preactivation(p, h, x, 0))
    z = sigmoid(preactivation(p, h, x, 1))
    n = np.tanh(x @ p["w_x"][:, 2] + p["b"][2] + r * (h @ p["w_h"][:, 2] + p["b_h"]))
    new = (1 - z) * n + z * h
    return {"h": new}, new, {"r": r, "z": z, "n": n}


def elman(p, carry, x):
    h = np.tanh(preactivation(p, carry["h"], x, 0))
    return {"h": h}, h, {}


ORACLES = {"lstm": lstm, "gru": gru, "elman": elman}


def zoned_out(step, kept):
    """A step after which the units that `kept` says keep their last value: field -> 1, 0, or the rate [H]."""

    def zoned(p, carry, x):
        new, y, trace = step(p, carry, x)
        for field, d in kept.items():
            new[field] = d * carry[field] + (1 - d) * new[field]
        if "c" in trace:
            trace = {**trace, "c": new["c"]}
        return new, new["h"] if "h" in kept else y, trace

    return zoned


def to_numpy(tree):
    """A dict or NamedTuple of arrays as a dict of float64 arrays."""
    items = tree.items() if isinstance(tree, dict) else tree._asdict().items()
    return {name: np.asarray(leaf, np.float64) for name, leaf in items}


def run(name, params, carry, xs, kept=None):
    """A whole sequence: carry fields [B, H], xs [T, B, D] -> last carry, ys [T, B, H], trace [T, B, H].

    `kept` is the zoneout of each step: field -> [T, B, H].
    """
    params, carry, xs = to_numpy(params), to_numpy(carry), np.asarray(xs, np.float64)
    times, batch = xs.shape[:2]
    last, ys, traces = [], [], []
    for b in range(batch):
        state = {field: value[b] for field, value in carry.items()}
        for t in range(times):
            step = ORACLES[name]
            if kept is not None:
                step = zoned_out(step, {field: np.float64(d[t, b]) for field, d in kept.items()})
            state, y, trace = step(params, state, xs[t, b])
            ys.append(y)
            traces.append(trace)
        last.append(state)

    def time_major(rows):
        return np.swapaxes(np.stack(rows).reshape(batch, times, -1), 0, 1)

    carry = {field: np.stack([state[field] for state in last]) for field in carry}
    return carry, time_major(ys), {gate: time_major([trace[gate] for trace in traces]) for gate in traces[0]}
