"""Players of the tasks that compute: sums, products, parity."""

import numpy as np

from tests.solvers.frame import Known


def adding(steps, *, length):
    """Asked at the last step: they are counted."""
    total = 0.0
    for t, (x, mark) in enumerate(steps):
        total += x * mark
        yield total if t == length - 1 else None


def _marked(steps):
    """The two numbers at the step that -1 marks as the last, else None."""
    found = []
    for t, (x, mark) in enumerate(steps):
        if mark == 1:
            found.append(x)
        ends = mark == -1 and t > 0
        assert not ends or len(found) == 2
        yield found if ends else None


def adding_1997(steps, *, length):
    for found in _marked(steps):
        yield None if found is None else 0.5 + sum(found) / 4


def multiplication(steps, *, length):
    for found in _marked(steps):
        yield None if found is None else np.prod(found)


def parity(steps, *, length, shortest, running):
    odd = 0
    for bit in steps:
        odd ^= bit
        yield odd


SOLVERS = {
    "adding": Known(adding, [dict(length=7), dict(length=2)]),
    "adding_1997": Known(adding_1997, [dict(length=8), dict(length=26)]),
    "multiplication": Known(multiplication, [dict(length=8)]),
    "parity": Known(
        parity,
        [dict(length=9), dict(length=40, shortest=40), dict(length=6, shortest=3, running=True)],
        eager=True,  # the last step does not look like one
    ),
}
