"""Players of the tasks whose sequences have a grammar, pairs or a warp."""

from tests.solvers.frame import Known

# The Reber grammar by its words: between what brackets which ways lead on (node -> symbol -> node).
REBER = {
    0: {"B": 1},
    1: {"T": 2, "P": 3},
    2: {"S": 2, "X": 4},
    3: {"T": 3, "V": 5},
    4: {"X": 3, "S": 6},
    5: {"P": 4, "V": 6},
    6: {"E": 7},
}


def inner_can_end(node, left):
    """Whether some way from `node` ends after exactly `left` symbols."""
    if node == 7 or left == 0:
        return node == 7 and left == 0
    return any(inner_can_end(after, left - 1) for after in REBER[node].values())


def embedded_reber(steps, *, length, least):
    """Follows the grammar with a recursive descent; what cannot end in time is not possible."""
    shortest = max(5, -int(-least * length // 1))
    letters = "BTPSXVE"

    def said(*symbols):
        return frozenset(letters.index(symbol) for symbol in symbols)

    next(steps)  # B
    yield said("T", "P")
    branch = letters[next(steps)]
    yield said("B")
    node, read = 0, 0
    while node != 7:
        node = REBER[node][letters[next(steps)]]
        read += 1
        yield (
            said(branch)
            if node == 7
            else said(
                *(
                    symbol
                    for symbol, after in REBER[node].items()
                    if any(inner_can_end(after, whole - read - 1) for whole in range(shortest, length + 1))
                )
            )
        )
    assert letters[next(steps)] == branch
    yield said("E")


def associative_recall(steps, *, length, letters, digits):
    known, before = {}, None
    for t, token in enumerate(steps):
        if t < 2 * length and t % 2 == 1:
            known[before] = token
        before = token
        yield known[token] - letters - 1 if t == 2 * length + 2 else None


def mqar(steps, *, length, pairs, vocab, power, noise):
    known, before = {}, None
    for t, token in enumerate(steps):
        if t < 2 * pairs and t % 2 == 1:
            known[before] = token
        before = token
        yield known[token] - vocab // 2 if t >= 2 * pairs and 0 < token < vocab // 2 else None


def a_n_b_n(steps, *, length, least, letters):
    """One counter."""
    shortest = max(1, -int(-least * length // 1))
    next(steps)
    yield frozenset({1})
    n, letter, left = 0, 1, 0
    for token in steps:
        if token == 1:
            n += 1
            yield frozenset({1} if n < shortest else {2} if n == length else {1, 2})
            continue
        if token != letter:
            letter, left = token, n
        left -= 1
        yield letter if left else (letter + 1) % (letters + 1)


def dyck(steps, *, length, kinds, depth):
    """A stack."""
    stack = []
    for t, token in enumerate(steps):
        if 1 <= token <= kinds:
            stack.append(token - 1)
        elif token:
            assert stack.pop() == token - kinds - 1
        assert len(stack) <= depth
        possible = set()
        if len(stack) < depth and len(stack) + 1 <= length - t - 1:
            possible |= set(range(kinds))
        if stack:
            possible.add(kinds + stack[-1])
        yield frozenset(possible)


def warped(steps, *, length, warp, form, characters, alphabet):
    """A new character is one that is neither padding nor the one before."""
    before, now, taken = None, None, 0
    for token in steps:
        if token != now and token != 0:
            assert now is None or (taken == length if warp == "uniform" else 1 <= taken <= length)
            before, now, taken = now, token, 0
        else:
            assert token == (0 if form == "pad" else now)
        taken += 1
        yield None if before is None else before - 1


SOLVERS = {
    "embedded_reber": Known(embedded_reber, [dict(length=6), dict(length=9, least=0.8)]),
    "associative_recall": Known(associative_recall, [dict(length=2, letters=4, digits=2), dict(length=4)]),
    "mqar": Known(
        mqar,
        [dict(length=24, pairs=5, vocab=64), dict(length=12, pairs=3, vocab=64, noise=True, power=1.0)],
    ),
    "a_n_b_n": Known(a_n_b_n, [dict(length=5), dict(length=4, letters=3, least=0.5)]),
    "dyck": Known(dyck, [dict(length=6), dict(length=12, depth=2, kinds=3)]),
    "warped": Known(
        warped,
        [dict(length=3, characters=4), dict(length=4, characters=3, alphabet=4, warp="uniform", form="pad")],
    ),
}
