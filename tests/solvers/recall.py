"""Players of the tasks that ask for symbols again."""

from tests.solvers.frame import Known


def delayed_recall(steps, *, length, symbols, distractors):
    first = None
    for t, token in enumerate(steps):
        first = token if t == 0 else first
        yield first - 1 if t == length else None


SOLVERS = {
    "delayed_recall": Known(delayed_recall, [dict(length=6, symbols=3), dict(length=4, distractors=0)]),
}
