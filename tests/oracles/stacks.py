"""Cells with stacks and tapes, as lists that are moved place by place."""

import jax.numpy as jnp
import numpy as np

from tests.oracles.associative import lstm_gates
from tests.oracles.frame import BENT, Facts, preactivation, sigmoid


def softmax(a):
    return np.exp(a - a.max()) / np.exp(a - a.max()).sum()


def tops(stack):
    return np.concatenate([own[0] for own in stack])


def moved(p, stack, h):
    """Each of the stacks [N, S, W] after its push, pop and no-op."""
    new = np.empty_like(stack)
    for n, own in enumerate(stack):
        push, pop, stay = softmax(h @ p["w_h_act"][:, n] + p["b_act"][n])
        value = sigmoid(h @ p["w_h_push"][:, n] + p["b_push"][n])
        for place in range(len(own)):
            above = value if place == 0 else own[place - 1]
            below = own[place + 1] if place + 1 < len(own) else np.zeros_like(value)
            new[n, place] = push * above + pop * below + stay * own[place]
    return new


def stack_rnn(p, carry, x, activation="tanh"):
    total = preactivation(p, carry["h"], x, 0) + tops(carry["stack"]) @ p["w_h_top"][:, 0]
    h = BENT[activation](total)
    return {"stack": moved(p, carry["stack"], h), "h": h}, h, {}


def stack_lstm(p, carry, x, gate_activation="sigmoid", activation="tanh"):
    read = tops(carry["stack"])
    sums = [preactivation(p, carry["h"], x, gate) + read @ p["w_h_top"][:, gate] for gate in range(4)]
    c, h, trace = lstm_gates(sums, carry["c"], gate_activation, activation)
    return {"c": c, "h": h, "stack": moved(p, carry["stack"], h)}, h, trace


def tape_rnn(p, carry, x, activation="tanh"):
    tape, far = carry["tape"].copy(), int(np.floor(carry["read"] + 0.5))
    h = BENT[activation](preactivation(p, carry["h"], x, 0) + tape[0] @ p["w_h_top"][:, 0])
    tape[0] = h @ p["w_h_write"][:, 0] + p["b_write"][0]
    new = np.zeros_like(tape)
    for weight, by in zip(
        softmax(h @ p["w_h_act"][:, 0] + p["b_act"][0]), (0, -1, 1, -far, far), strict=True
    ):
        for place in range(len(tape)):
            new[place] += weight * tape[(place + by) % len(tape)]
    return {"tape": new, "read": carry["read"] + 1, "h": h}, h, {}


ORACLES = {"stack_rnn": stack_rnn, "stack_lstm": stack_lstm, "tape_rnn": tape_rnn}


def some_read(carry):
    """Sequence b has read b steps and a bit: whole numbers are where rounding is far from a jump."""
    return carry._replace(read=jnp.arange(len(carry.read), dtype=carry.read.dtype) + 0.2)


STACKS = dict(stacks=2, slots=3, width=2)
WEIGHTS = ("w_h", "w_h_top", "w_h_act", "w_h_push")
FACTS = {
    "stack_rnn": Facts(
        options=STACKS,
        carry={"stack": lambda hidden: (2, 3, 2)},
        recurrent_weights=WEIGHTS,
        cases={"relu": dict(activation="relu")},
    ),
    "stack_lstm": Facts(options=STACKS, carry={"stack": lambda hidden: (2, 3, 2)}, recurrent_weights=WEIGHTS),
    "tape_rnn": Facts(
        options=dict(slots=5, width=3),
        carry={"tape": lambda hidden: (5, 3), "read": lambda hidden: ()},
        valid=some_read,
        recurrent_weights=("w_h", "w_h_top", "w_h_act", "w_h_write"),
    ),
}
