"""Cells whose units recur by themselves: ParaRNN's LSTM and GRU (Danieli 2026), IndRNN (Li 2018)."""

import numpy as np

from tests.oracles.frame import BENT, Facts


def alone(p, h, x, gate):
    """The sum of a gate for each unit: its own state times its own weight. Heads are counted from w_x."""
    b = p["b"][gate] + p.get("b_fixed", np.zeros_like(p["b"]))[gate]
    rows, units = p["w_x"].shape[0], len(h)
    heads = len(x) // rows
    total = np.zeros(units)
    for j in range(units):
        head = j * heads // units
        seen = x[head * rows : (head + 1) * rows]
        total[j] = b[j] + seen @ p["w_x"][:, gate, j] + p["w_h"][gate, j] * h[j]
    return total


def para_lstm(p, carry, x, gate_activation="sigmoid", activation="tanh"):
    squash, bend = BENT[gate_activation], BENT[activation]
    c, h = carry["c"], carry["h"]
    f = squash(alone(p, h, x, 0) + p["peephole"][0] * c)
    g = bend(alone(p, h, x, 1))
    c = f * c + (1 - f) * g
    o = squash(alone(p, h, x, 2) + p["peephole"][1] * c)
    h = o * bend(c)
    return {"c": c, "h": h}, h, {"i": 1 - f, "f": f, "g": g, "o": o, "c": c}


def para_gru(p, carry, x, gate_activation="sigmoid", activation="tanh"):
    squash, bend = BENT[gate_activation], BENT[activation]
    h = carry["h"]
    r, z = squash(alone(p, h, x, 0)), squash(alone(p, h, x, 1))
    n = bend(alone(p, r * h, x, 2))  # the paper's order: r before the product
    h = z * h + (1 - z) * n
    return {"h": h}, h, {"r": r, "z": z, "n": n}


def indrnn(p, carry, x, activation="relu"):
    h = BENT[activation](alone(p, carry["h"], x, 0))
    return {"h": h}, h, {}


ORACLES = {"para_lstm": para_lstm, "para_gru": para_gru, "indrnn": indrnn}
DRAWN = {"init": "uniform(0.6)"}
FACTS = {
    "para_lstm": Facts(
        options=DRAWN,
        cases={"hard": {"gate_activation": "hard_sigmoid", "activation": "softsign"}},
        standard=False,
    ),
    "para_gru": Facts(cases={"hard": {"gate_activation": "hard_sigmoid"}}, standard=False),
    "indrnn": Facts(cases={"tanh": {"activation": "tanh"}, "long": {"steps": 3}}, standard=False),
}
