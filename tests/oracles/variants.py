"""The cells that are the LSTM or the Elman network but for a gate, an activation, a norm or a bias."""

import numpy as np

from tests.oracles.classic import lstm
from tests.oracles.frame import BENT, Facts, preactivation, sigmoid


def lstm_1997(p, carry, x, gate_activation="sigmoid", activation="tanh"):
    squash, bend = BENT[gate_activation], BENT[activation]
    i, g, o = (preactivation(p, carry["h"], x, gate) for gate in range(3))
    i, g, o = squash(i), bend(g), squash(o)
    c = carry["c"] + i * g
    h = o * bend(c)
    return {"c": c, "h": h}, h, {"i": i, "g": g, "o": o, "c": c}


def peephole(p, carry, x, gate_activation="sigmoid", activation="tanh"):
    squash, bend = BENT[gate_activation], BENT[activation]
    c, h = carry["c"], carry["h"]
    i = squash(preactivation(p, h, x, 0) + p["peephole"][0] * c)
    f = squash(preactivation(p, h, x, 1) + p["peephole"][1] * c)
    g = bend(preactivation(p, h, x, 2))
    c = f * c + i * g
    o = squash(preactivation(p, h, x, 3) + p["peephole"][2] * c)
    h = o * bend(c)
    return {"c": c, "h": h}, h, {"i": i, "f": f, "g": g, "o": o, "c": c}


def greff(p, carry, x, variant="vanilla", gate_activation="sigmoid", activation="tanh"):
    """Greff 2017, with the weights of the gates that a variant lacks left out of their rows.

    Each variant is the vanilla one with one thing changed. So the rows are read by name, whatever is left.
    """
    squash, bend = BENT[gate_activation], BENT[activation]
    rows = {"nig": "fgo", "cifg": "fgo", "nfg": "igo", "nog": "ifg"}.get(variant, "ifgo")
    peeping = [gate for gate in rows if gate != "g"]
    c, h = carry["c"], carry["h"]

    def gate(name, state):
        a = preactivation(p, h, x, rows.index(name))
        if variant == "fgr":
            for k, other in enumerate("ifo"):  # R_io o_{t-1}, and so on: nine matrices
                for unit in range(len(h)):
                    a = a + carry[other][unit] * p["w_h_gates"][k * len(h) + unit, peeping.index(name)]
        if variant != "np":
            a = a + p["peephole"][peeping.index(name)] * state
        return squash(a)

    one = np.ones_like(c)
    f = one if variant == "nfg" else gate("f", c)
    i = one if variant == "nig" else 1 - f if variant == "cifg" else gate("i", c)
    g = preactivation(p, h, x, rows.index("g"))
    g = g if variant == "niaf" else bend(g)
    c = f * c + i * g
    o = one if variant == "nog" else gate("o", c)
    h = o * (c if variant == "noaf" else bend(c))
    trace = {"i": i, "f": f, "g": g, "o": o, "c": c}
    trace.pop({"nig": "i", "nfg": "f", "nog": "o"}.get(variant), None)
    after = {"c": c, "h": h} | ({"i": i, "f": f, "o": o} if variant == "fgr" else {})
    return after, h, trace


def capped_lstm(p, carry, x, gate_activation="sigmoid", activation="tanh"):
    squash, bend = BENT[gate_activation], BENT[activation]
    i, f, g, o = (preactivation(p, carry["h"], x, gate) for gate in range(4))
    f, g, o = squash(f), bend(g), squash(o)
    i = np.minimum(squash(i), 1 - f)
    c = f * carry["c"] + i * g
    h = o * bend(c)
    return {"c": c, "h": h}, h, {"i": i, "f": f, "g": g, "o": o, "c": c}


def janet(p, carry, x, beta=1.0, gate_activation="sigmoid", activation="tanh"):
    squash, bend = BENT[gate_activation], BENT[activation]
    s = preactivation(p, carry["h"], x, 0)
    g = bend(preactivation(p, carry["h"], x, 1))
    c = squash(s) * carry["c"] + (1 - squash(s - beta)) * g
    return {"c": c, "h": c}, c, {"i": 1 - squash(s - beta), "f": squash(s), "g": g, "c": c}


def ur_lstm(p, carry, x, activation="tanh"):
    bend = BENT[activation]
    r, u, g, o = (preactivation(p, carry["h"], x, gate) for gate in range(4))
    r, u, g, o = sigmoid(r), sigmoid(u), bend(g), sigmoid(o)
    f = (1 - 2 * r) * u**2 + 2 * r * u  # another form than the cell's own of the same polynomial
    c = f * carry["c"] + (1 - f) * g
    h = o * bend(c)
    return {"c": c, "h": h}, h, {"r": r, "forget": u, "f": f, "i": 1 - f, "g": g, "o": o, "c": c}


def normed(a):
    """A vector less its mean, over its standard deviation; 1e-5 is added to the variance."""
    return (a - a.sum() / a.size) / np.sqrt(((a - a.sum() / a.size) ** 2).sum() / a.size + 1e-5)


def layer_norm_lstm(p, carry, x, gate_activation="sigmoid", activation="tanh"):
    squash, bend = BENT[gate_activation], BENT[activation]
    b = p["b"] + p.get("b_fixed", 0)
    from_x = normed(np.concatenate([x @ p["w_x"][:, gate] for gate in range(4)]))
    from_h = normed(np.concatenate([carry["h"] @ p["w_h"][:, gate] for gate in range(4)]))
    a = p["gain_x"].reshape(-1) * from_x + p["gain_h"].reshape(-1) * from_h + b.reshape(-1)
    i, f, g, o = np.split(a, 4)
    i, f, g, o = squash(i), squash(f), bend(g), squash(o)
    c = f * carry["c"] + i * g
    h = o * bend(p["gain_c"] * normed(c) + p["shift_c"])
    return {"c": c, "h": h}, h, {"i": i, "f": f, "g": g, "o": o, "c": c}


def irnn(p, carry, x, activation="relu"):
    h = BENT[activation](preactivation(p, carry["h"], x, 0))
    return {"h": h}, h, {}


ORACLES = {
    "lstm_1997": lstm_1997,
    "peephole": peephole,
    "greff": greff,
    "capped_lstm": capped_lstm,
    "janet": janet,
    "ur_lstm": ur_lstm,
    "layer_norm_lstm": layer_norm_lstm,
    "multi_timescale": lstm,  # its equations are the LSTM's; what is its own is the bias
    "irnn": irnn,
}
# Where lecun's biases, peepholes among them, would be 0 and hide themselves, everything is drawn.
DRAWN = {"init": "uniform(0.6)"}
FACTS = {
    "lstm_1997": Facts(cases={"softsign": {"activation": "softsign", "gate_activation": "hard_sigmoid"}}),
    "peephole": Facts(options=DRAWN),
    "greff": Facts(
        options=DRAWN,
        cases={
            variant: {"variant": variant}
            for variant in ("nig", "nfg", "nog", "niaf", "noaf", "cifg", "np", "fgr")
        },
        # w_h_gates, of fgr alone, is told to the tests that need it in tests/cells/test_cells_variants.py
    ),
    "janet": Facts(cases={"beta 0": {"beta": 0.0}}),
    "irnn": Facts(options={"scale": 0.9}, constants=("w_h",)),
}
