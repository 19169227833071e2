"""Players of the tasks of Deletang et al. and of state tracking: lists, Python's own integers and `eval`."""

import math

from tests.solvers.frame import Known


def even_pairs(steps, *, length, shortest):
    before, unequal = None, 0
    for bit in steps:
        unequal += before is not None and bit != before
        before = bit
        yield int(unequal % 2 == 0)


def cycle_navigation(steps, *, length, shortest):
    place = 0
    for token in steps:
        place += (-1, 0, 1)[token]
        yield place % 5


def value(text):
    """Modulo 5, or None where the text is no expression yet."""
    try:
        return eval(text, {"__builtins__": {}}) % 5
    except SyntaxError:
        return None


def modular_arithmetic(steps, *, length, shortest):
    text = ""
    for token in steps:
        text += "01234+-*"[token]
        yield value(text)


def modular_arithmetic_brackets(steps, *, length, shortest):
    text = ""
    for token in steps:
        text += "01234+-*()"[token]
        yield value(text) if text.count("(") == text.count(")") else None


def solve_equation(steps, *, length, shortest):
    text = ""
    for token in steps:
        text += "01234+-*()x="[token]
        left, _, right = text.partition("=")
        if not right:
            yield None
            continue
        assert "*" not in left
        (solution,) = [x for x in range(5) if value(left.replace("x", str(x))) == int(right)]
        yield solution


def spoken(steps, answer, end):
    """Reads until the first blank, then says `answer(tokens)` and the terminator."""
    read, left = [], None
    for token in steps:
        if token == 0 and left is None:
            left = [*answer(read), end]
        if left is None:
            read.append(token)
            yield None
        else:
            assert token == 0
            yield left.pop(0)
    assert left == [], "the sequence goes on until all is said"


def stack_manipulation(steps, *, length, shortest):
    def answer(tokens):
        stack = []
        for token in tokens:
            if token == 3:
                del stack[-1:]
            else:
                stack.append(token - 1 if token < 3 else token - 4)
        acts = [token > 2 for token in tokens]
        assert acts == sorted(acts) and not acts[0]
        return stack[::-1]

    return spoken(steps, answer, 2)


def reverse_string(steps, *, length, shortest):
    return spoken(steps, lambda tokens: [token - 1 for token in reversed(tokens)], 2)


def duplicate_string(steps, *, length, shortest):
    return spoken(steps, lambda tokens: 2 * [token - 1 for token in tokens], 2)


def odds_first(steps, *, length, shortest):
    return spoken(steps, lambda tokens: [token - 1 for token in tokens[::2] + tokens[1::2]], 2)


def bucket_sort(steps, *, length, shortest):
    return spoken(steps, lambda tokens: sorted(token - 1 for token in tokens), 5)


def missing_duplicate(steps, *, length, shortest):
    read = []
    for token in steps:
        read.append(token)
        half, answer = len(read) // 2, None
        if len(read) % 2 == 0 and 2 in read:
            gap = read.index(2)
            answer = read[gap - half]
            whole = [*read[:gap], answer, *read[gap + 1 :]]
            answer = answer if whole[:half] == whole[half:] else None
        yield answer


def number(bits):
    """Of tokens, the lowest bit first."""
    return sum(token - 1 << place for place, token in enumerate(bits))


def operands(compute, size):
    def answer(tokens):
        where = tokens.index(3)
        first, second = tokens[:where], tokens[where + 1 :]
        result = compute(number(first), number(second))
        return [result >> place & 1 for place in range(size(len(first), len(second)))]

    return answer


def binary_addition(steps, *, length, shortest):
    return spoken(steps, operands(int.__add__, lambda a, b: max(a, b) + 1), 2)


def binary_multiplication(steps, *, length, shortest):
    return spoken(steps, operands(int.__mul__, lambda a, b: a + b), 2)


def compute_sqrt(steps, *, length, shortest):
    def answer(tokens):
        root = math.isqrt(number(tokens[::-1]))
        return [int(bit) for bit in f"{root:0{(len(tokens) + 1) // 2}b}"]

    return spoken(steps, answer, 2)


def permuted(number, places, even):
    """The permutation of that number in lexical order, by counting inversions and not by a table."""
    found = -1
    for code in range(places**places):
        digits = [code // places**k % places for k in reversed(range(places))]
        if len(set(digits)) < places:
            continue
        inversions = sum(digits[i] > digits[j] for j in range(places) for i in range(j))
        found += not even or inversions % 2 == 0
        if found == number:
            return digits
    raise AssertionError(number)


KNOWN = {}


def state_tracking(steps, *, length, shortest, group):
    if group == "Z60":
        total = 0
        for token in steps:
            total += token
            yield total % 60
        return
    places = int(group[1:])

    def element(number):
        if (group, number) not in KNOWN:
            KNOWN[group, number] = permuted(number, places, group[0] == "A")
        return KNOWN[group, number]

    order = math.factorial(places) // (2 if group[0] == "A" else 1)
    arrangement = list(range(places))
    for token in steps:
        arrangement = [element(token)[i] for i in arrangement]
        yield next(k for k in range(order) if element(k) == arrangement)


SOLVERS = {
    "even_pairs": Known(even_pairs, [dict(length=9), dict(length=6, shortest=2)], eager=True),
    "cycle_navigation": Known(cycle_navigation, [dict(length=7), dict(length=4, shortest=4)], eager=True),
    "modular_arithmetic": Known(modular_arithmetic, [dict(length=9), dict(length=8, shortest=4)], eager=True),
    "modular_arithmetic_brackets": Known(
        modular_arithmetic_brackets, [dict(length=9), dict(length=16, shortest=12)], eager=True
    ),
    "solve_equation": Known(solve_equation, [dict(length=8), dict(length=14, shortest=14)], eager=True),
    "stack_manipulation": Known(stack_manipulation, [dict(length=6), dict(length=9, shortest=7)]),
    "reverse_string": Known(reverse_string, [dict(length=6), dict(length=5, shortest=3)]),
    "duplicate_string": Known(duplicate_string, [dict(length=6)]),
    "missing_duplicate": Known(missing_duplicate, [dict(length=14), dict(length=9, shortest=4)], eager=True),
    "odds_first": Known(odds_first, [dict(length=7)]),
    "bucket_sort": Known(bucket_sort, [dict(length=6), dict(length=7, shortest=3)]),
    "binary_addition": Known(binary_addition, [dict(length=9), dict(length=7, shortest=5)]),
    "binary_multiplication": Known(binary_multiplication, [dict(length=9), dict(length=7, shortest=7)]),
    "compute_sqrt": Known(compute_sqrt, [dict(length=9), dict(length=12, shortest=7)]),
    "state_tracking": Known(
        state_tracking,
        [
            dict(length=4, group="S3"),
            dict(length=6, shortest=6, group="S5"),
            dict(length=3, group="A5"),
            dict(length=3, group="Z60"),
        ],
    ),
}
