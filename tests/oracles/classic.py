"""The three cells from which the others are told apart: LSTM, GRU, Elman network."""

from tests.oracles.frame import BENT, preactivation


def lstm(p, carry, x, gate_activation="sigmoid", activation="tanh"):
    squash, bend = BENT[gate_activation], BENT[activation]
    i, f, g, o = (preactivation(p, carry["h"], x, gate) for gate in range(4))
    i, f, g, o = squash(i), squash(f), bend(g), squash(o)
    c = f * carry["c"] + i * g
    h = o * bend(c)
    return {"c": c, "h": h}, h, {"i": i, "f": f, "g": g, "o": o, "c": c}


def gru(p, carry, x, gate_activation="sigmoid", activation="tanh"):
    squash, bend = BENT[gate_activation], BENT[activation]
    h = carry["h"]
    r = squash(preactivation(p, h, x, 0))
    z = squash(preactivation(p, h, x, 1))
    n = bend(x @ p["w_x"][:, 2] + p["b"][2] + r * (h @ p["w_h"][:, 2] + p["b_h"]))
    new = (1 - z) * n + z * h
    return {"h": new}, new, {"r": r, "z": z, "n": n}


def elman(p, carry, x, activation="tanh"):
    h = BENT[activation](preactivation(p, carry["h"], x, 0))
    return {"h": h}, h, {}


ORACLES = {"lstm": lstm, "gru": gru, "elman": elman}
