"""Cells with an associative memory: fast weights, plastic connections, attention over past states."""

import jax.numpy as jnp
import numpy as np

from tests.oracles.frame import BENT, Facts, preactivation


def fast_weights(p, carry, x, decay=0.95, eta=0.5, inner=1, activation="relu"):
    f = BENT[activation]
    slow = preactivation(p, carry["h"], x, 0)
    h = f(slow)
    for _ in range(inner):
        fast = np.array([sum(carry["a"][i, j] * h[j] for j in range(len(h))) for i in range(len(h))])
        a = slow + fast
        h = f(p["gain"] * (a - a.mean()) / np.sqrt(a.var() + 1e-5) + p["shift"])
    return {"a": decay * carry["a"] + eta * np.outer(h, h), "h": h}, h, {"fast": fast}


def plastic(p, carry, x, rule="hebb", activation="tanh"):
    before, hebb, eta = carry["h"], carry["hebb"], p["eta"]
    total = preactivation(p, before, x, 0)
    for i in range(len(before)):
        for j in range(len(before)):
            total[j] += before[i] * p["alpha"][i, j] * hebb[i, j]
    y = BENT[activation](total)
    new = np.empty_like(hebb)
    for i in range(len(y)):
        for j in range(len(y)):
            if rule == "hebb":
                new[i, j] = eta * before[i] * y[j] + (1 - eta) * hebb[i, j]
            else:
                new[i, j] = hebb[i, j] + eta * y[j] * (before[i] - y[j] * hebb[i, j])
    return {"hebb": new, "h": y}, y, {}


def lstm_gates(sums, c, gate_activation, activation):
    squash, bend = BENT[gate_activation], BENT[activation]
    i, f, g, o = squash(sums[0]), squash(sums[1]), bend(sums[2]), squash(sums[3])
    c = f * c + i * g
    return c, o * bend(c), {"i": i, "f": f, "g": g, "o": o, "c": c}


def plastic_lstm(p, carry, x, modulation="none", clip=2.0, gate_activation="sigmoid", activation="tanh"):
    before, hebb = carry["h"], carry["hebb"]
    sums = [preactivation(p, before, x, gate) for gate in range(4)]
    for j in range(len(before)):
        sums[2][j] += sum(before[i] * p["alpha"][i, j] * hebb[i, j] for i in range(len(before)))
    c, h, trace = lstm_gates(sums, carry["c"], gate_activation, activation)
    eta = np.broadcast_to(p["eta"], h.shape)
    if modulation == "state":
        eta = eta + p["fan_out"] * np.tanh(sum(h * p["w_m"]) + p["b_m"])
        trace["eta"] = eta
    new = np.empty_like(hebb)
    for i in range(len(h)):
        for j in range(len(h)):
            new[i, j] = min(max(hebb[i, j] + eta[j] * before[i] * trace["g"][j], -clip), clip)
    return {"c": c, "h": h, "hebb": new}, h, trace


def attention_lstm(p, carry, x, gate_activation="sigmoid", activation="tanh"):
    memory, h = carry["memory"], carry["h"]
    slots = len(memory)
    query = preactivation(p, h, x, 4)
    past = [k for k in range(slots) if k < carry["held"]]
    exponentials = [np.exp(query @ memory[k] / np.sqrt(len(h))) for k in past]
    weights, read = np.zeros(slots), np.zeros_like(h)
    for k, e in zip(past, exponentials, strict=True):
        weights[k] = e / sum(exponentials)
        read = read + weights[k] * memory[k]
    sums = [preactivation(p, h, x, gate) + read @ p["w_h_read"][:, gate] for gate in range(4)]
    c, h, trace = lstm_gates(sums, carry["c"], gate_activation, activation)
    memory = np.array([h, *memory[:-1]])
    held = np.minimum(carry["held"] + 1, slots)
    return {"c": c, "h": h, "memory": memory, "held": held}, h, trace | {"attention": weights}


ORACLES = {
    "fast_weights": fast_weights,
    "plastic": plastic,
    "plastic_lstm": plastic_lstm,
    "attention_lstm": attention_lstm,
}


def some_held(carry):
    """Sequence b holds b states. Not whole numbers, which derivatives by differences would step over."""
    return carry._replace(held=jnp.arange(len(carry.held), dtype=carry.held.dtype) - 0.5)


def square(hidden):
    return (hidden, hidden)


# The options make the associative part as strong as the rest: a thousandth of it would pass unseen.
FACTS = {
    "fast_weights": Facts(
        constants=("w_h",),
        carry={"a": square},
        cases={"3 inner tanh": dict(inner=3, activation="tanh", eta=0.2)},
    ),
    "plastic": Facts(
        options=dict(eta=0.3, alpha=0.5), carry={"hebb": square}, cases={"oja": dict(rule="oja")}
    ),
    "plastic_lstm": Facts(
        options=dict(eta=0.3, alpha=0.5),
        carry={"hebb": square},
        cases={"modulated": dict(modulation="state"), "clipped": dict(clip=0.4)},
    ),
    "attention_lstm": Facts(
        options=dict(slots=2),
        carry={"memory": lambda hidden: (2, hidden), "held": lambda hidden: ()},
        valid=some_held,
        recurrent_weights=("w_h", "w_h_read"),
    ),
}
