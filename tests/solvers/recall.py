"""Players of the tasks that ask for symbols again."""

import collections

from tests.solvers.frame import Known


def delayed_recall(steps, *, length, symbols, distractors):
    first = None
    for t, token in enumerate(steps):
        first = token if t == 0 else first
        yield first - 1 if t == length else None


def copying(steps, *, length, symbols, items):
    """All steps are asked for: blanks until the delimiter has been seen, then the symbols."""
    held, speaking = collections.deque(), False
    for token in steps:
        yield held.popleft() if speaking else 0
        if 1 <= token <= symbols:
            held.append(token)
        speaking = speaking or token == symbols + 1


def variable_copying(steps, *, length, symbols, items):
    held, speaking = collections.deque(), False
    for token in steps:
        yield held.popleft() - 1 if speaking else None
        if 1 <= token <= symbols:
            held.append(token)
        speaking = speaking or token == symbols + 1


def selective_copying(steps, *, length, symbols, items):
    held = collections.deque()
    for token in steps:
        if 1 <= token <= symbols:
            held.append(token)
        yield held.popleft() - 1 if token == symbols + 1 else None


def long_lag_2a(steps, *, length):
    """What follows a_i is a_{i+1}, and a_{p-1} the first element."""
    first = None
    for t, token in enumerate(steps):
        first = token if t == 0 else first
        if t == length - 1:
            yield first
        else:
            yield 0 if t == 0 else token + 1


def long_lag_2b(steps, *, length):
    """What follows is any a_i, and at the end the first element."""
    first = None
    for t, token in enumerate(steps):
        first = token if t == 0 else first
        yield first if t == length - 1 else frozenset(range(length - 1))


def long_lag_2c(steps, *, length, distractors, suffix):
    b, e, x = 0, 1, 2
    second = None
    for t, token in enumerate(steps):
        assert (token == b) == (t == 0) and (t == 1 or token not in (x, x + 1))
        second = token if t == 1 else second
        yield second - x if token == e else None


def temporal_order(steps, *, length, order):
    end, x, y = 1, 2, 3
    number, seen = 0, 0
    for token in steps:
        if token in (x, y):
            number, seen = 2 * number + (token == y), seen + 1
        assert token != end or seen == order
        yield number if token == end else None


SOLVERS = {
    "delayed_recall": Known(delayed_recall, [dict(length=6, symbols=3), dict(length=4, distractors=0)]),
    "copying": Known(copying, [dict(length=4, symbols=5, items=3), dict(length=1, symbols=2, items=1)]),
    "variable_copying": Known(variable_copying, [dict(length=5, symbols=5, items=3)]),
    "selective_copying": Known(
        selective_copying, [dict(length=9, symbols=5, items=3), dict(length=3, items=3)]
    ),
    "long_lag_2a": Known(long_lag_2a, [dict(length=5), dict(length=2)]),
    "long_lag_2b": Known(long_lag_2b, [dict(length=5), dict(length=3)]),
    "long_lag_2c": Known(long_lag_2c, [dict(length=4, distractors=3, suffix=6), dict(length=12, suffix=0)]),
    "temporal_order": Known(temporal_order, [dict(length=10, order=order) for order in (2, 3, 4)]),
}
