"""Cells whose memory has a structure: projected, ordered, leaking, minimal, exponential, mogrified."""

import numpy as np

from tests.oracles.frame import BENT, Facts, preactivation, sigmoid


def lstm_of(p, c, h, x, gate_activation, activation):
    """i, f, g, o, c' and h' of Gers 2000, from any c, h and x."""
    squash, bend = BENT[gate_activation], BENT[activation]
    i, f, g, o = (preactivation(p, h, x, gate) for gate in range(4))
    i, f, g, o = squash(i), squash(f), bend(g), squash(o)
    c = f * c + i * g
    return {"i": i, "f": f, "g": g, "o": o, "c": c}, o * bend(c)


def projected_lstm(p, carry, x, gate_activation="sigmoid", activation="tanh"):
    """Sak 2014: r = W_rm m, and the gates see r; the carry holds m, here h."""
    r = p["w_p"].T @ carry["h"]
    trace, m = lstm_of(p, carry["c"], r, x, gate_activation, activation)
    return {"c": trace["c"], "h": m}, p["w_p"].T @ m, trace


def cumax(a):
    e = np.exp(a - a.max())
    return np.array([e[: k + 1].sum() / e.sum() for k in range(len(a))])


def on_lstm(p, carry, x, gate_activation="sigmoid", activation="tanh"):
    """Shen 2019, eq. 9 to 14."""
    h, units = carry["h"], len(carry["h"])
    gates, _ = lstm_of(p, carry["c"], h, x, gate_activation, activation)
    sums = [
        x @ p["w_x_master"][:, row] + h @ p["w_h_master"][:, row] + p["b_master"][row] for row in range(2)
    ]
    chunk = units // len(sums[0])
    f_master = np.array([cumax(sums[0])[unit // chunk] for unit in range(units)])
    i_master = np.array([1 - cumax(sums[1])[unit // chunk] for unit in range(units)])
    overlap = f_master * i_master
    f = gates["f"] * overlap + (f_master - overlap)
    i = gates["i"] * overlap + (i_master - overlap)
    c = f * carry["c"] + i * gates["g"]
    h = gates["o"] * BENT[activation](c)
    trace = {**gates, "i": i, "f": f, "c": c, "f_master": f_master, "i_master": i_master}
    return {"c": c, "h": h}, h, trace


def scrn(p, carry, x, alpha=0.95, activation="sigmoid"):
    """Mikolov 2014, eq. 4 to 6."""
    if "alpha_logit" in p:
        alpha = sigmoid(p["alpha_logit"])
    s = (1 - alpha) * (x @ p["w_x_s"]) + alpha * carry["s"]
    h = BENT[activation](s @ p["w_s"][:, 0] + preactivation(p, carry["h"], x, 0))
    return {"s": s, "h": h}, np.concatenate([h, s]), {"s": s, "f": alpha * np.ones_like(s)}


def candidate_of(a, candidate):
    return {"positive": np.where(a < 0, sigmoid(a), a + 0.5), "linear": a, "tanh": np.tanh(a)}[candidate]


def min_lstm(p, carry, x, candidate="positive"):
    """Feng 2024, section 3.2 with the g of appendix B."""
    i, f, g = (preactivation(p, (), x, gate) for gate in range(3))
    i, f, g = sigmoid(i), sigmoid(f), candidate_of(g, candidate)
    i, f = i / (f + i), f / (f + i)
    c = f * carry["c"] + i * g
    return {"c": c}, c, {"i": i, "f": f, "g": g, "c": c}


def min_gru(p, carry, x, candidate="positive"):
    """Feng 2024, section 3.1."""
    z = sigmoid(preactivation(p, (), x, 0))
    g = candidate_of(preactivation(p, (), x, 1), candidate)
    c = (1 - z) * carry["c"] + z * g
    return {"c": c}, c, {"i": z, "f": 1 - z, "g": g, "c": c}


def slstm(p, carry, x, forget="sigmoid"):
    """Beck 2024, eq. 8 to 14, without a stabiliser; then the stabilised carry of eq. 15 to 17."""
    i, f, g, o = (preactivation(p, carry["h"], x, gate) for gate in range(4))
    i, f, g, o = np.exp(i), {"sigmoid": sigmoid, "exp": np.exp}[forget](f), np.tanh(g), sigmoid(o)
    before = carry["n"] * np.exp(carry["m"])
    c = f * carry["c"] * np.exp(carry["m"]) + i * g
    n = f * before + i
    h = o * c / n
    m = np.where(before == 0, np.log(i), np.maximum(np.log(f) + carry["m"], np.log(i)))
    after = {"c": c * np.exp(-m), "n": n * np.exp(-m), "m": m, "h": h}
    trace = {
        "i": i / n,
        "f": np.where(before == 0, 1, f * before / n),
        "g": g,
        "o": o,
        "c": c / n,
        "n": after["n"],
        "m": m,
    }
    return after, h, trace


def mogrifier(p, carry, x, rounds=5, gate_activation="sigmoid", activation="tanh"):
    """Melis 2020, eq. 1 and 2."""
    h = carry["h"]

    def gate(name, step, source):
        for leaf in (f"w_{name}", f"w_{name}_up"):
            source = source @ p[leaf][step] if leaf in p else source
        return 2 * sigmoid(source + p[f"b_{name}"][step])

    for k in range(1, rounds + 1):
        if k % 2 == 1:
            x = gate("q", (k - 1) // 2, h) * x
        else:
            h = gate("r", k // 2 - 1, x) * h
    trace, h = lstm_of(p, carry["c"], h, x, gate_activation, activation)
    return {"c": trace["c"], "h": h}, h, trace


ORACLES = {
    "projected_lstm": projected_lstm,
    "on_lstm": on_lstm,
    "scrn": scrn,
    "min_lstm": min_lstm,
    "min_gru": min_gru,
    "slstm": slstm,
    "mogrifier": mogrifier,
}


def positive_normaliser(carry):
    return carry._replace(n=1.0 + abs(carry.n))


FACTS = {
    "projected_lstm": Facts(
        options={"projection": 3},
        cases={"default": {"projection": None}},
        output=lambda hidden: 3,
        standard=False,
        single=False,
    ),
    "on_lstm": Facts(
        hidden=6,
        options={"chunk": 2},
        cases={"default": {"chunk": None}, "chunk of one": {"chunk": 1}},
        input_weights=("w_x", "w_x_master"),
        recurrent_weights=("w_h", "w_h_master"),
        matmuls=2,
        standard=False,
    ),
    "scrn": Facts(
        cases={"learned": {"alpha_trainable": True}, "three": {"alpha": 0.5}},
        output=lambda hidden: hidden + 2,
        carry={"s": lambda hidden: (2,)},
        input_weights=("w_x", "w_x_s"),
        matmuls=3,
        standard=False,
        single=False,
    ),
    "min_lstm": Facts(
        cases={"linear": {"candidate": "linear"}, "tanh": {"candidate": "tanh"}},
        recurrent_weights=(),
        standard=False,
    ),
    "min_gru": Facts(cases={"linear": {"candidate": "linear"}}, recurrent_weights=(), standard=False),
    "slstm": Facts(cases={"exp": {"forget": "exp"}}, valid=positive_normaliser),
    "mogrifier": Facts(
        options={"rounds": 3},
        cases={"low rank": {"rounds": 2, "rank": 2}, "one round": {"rounds": 1}},
        recurrent_weights=("w_h", "w_q"),
        matmuls=0,
        standard=False,
    ),
}
