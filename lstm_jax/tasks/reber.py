"""The embedded Reber grammar as an automaton, and its strings of bounded length as a Markov chain.

The grammar (Reber 1967) walks from node 0 to the end, each way out of a node equally likely:

    0 -B-> 1;  1 -T-> 2, -P-> 3;  2 -S-> 2, -X-> 4;  3 -T-> 3, -V-> 5;
    4 -X-> 3, -S-> 6;  5 -P-> 4, -V-> 6;  6 -E->

The embedded grammar (Smith & Zipser 1989; Hochreiter & Schmidhuber 1997, experiment 1) puts a Reber string
between two equal symbols: B T <string> T E or B P <string> P E. The second symbol of all decides the
last but one, however long the string between them.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["CLOSING", "END", "NEXT", "SHORTEST", "START", "SYMBOLS", "Chain", "bounded"]

SYMBOLS = "BTPSXVE"
"""Token numbers are places in this string."""
SHORTEST = 5
"""Symbols of the shortest Reber string, e.g. BTXSE."""

_NODES = ("B1", "T2 P3", "S2 X4", "T3 V5", "X3 S6", "P4 V6", "E7")
"""Ways out of each node; node 7 is the end of the inner string."""
_BRANCH = {"T": 2, "P": 10}
"""Number of the embedded automaton's state that is node 0 of the inner grammar, by the second symbol."""
START, END = 0, 19
CLOSING = (9, 17)
"""The states from which only the symbol that matches the second one leads on."""


def _automaton() -> np.ndarray:
    table = np.full((END + 1, len(SYMBOLS)), -1, np.int32)
    table[START, SYMBOLS.index("B")] = 1
    for symbol, first in _BRANCH.items():
        table[1, SYMBOLS.index(symbol)] = first
        for node, ways in enumerate(_NODES):
            for way in ways.split():
                table[first + node, SYMBOLS.index(way[0])] = first + int(way[1])
        table[first + len(_NODES), SYMBOLS.index(symbol)] = END - 1
    table[END - 1, SYMBOLS.index("E")] = END
    return table


NEXT = _automaton()
"""[states, symbols] int32: the state after a symbol, -1 where the grammar forbids it."""


class Chain(NamedTuple):
    """Strings of the embedded grammar, conditioned on the length of what is embedded.

    Position t is the number of symbols before the one in question; N is the longest string's length. A state
    has one way out or two.

    Attributes:
      first, second: [states] int32, the symbols of the two ways; equal where there is but one.
      probability: [N, states] float64 of `first` at position t.
      symbols: [N, states, symbols] float64, the same as a distribution; 0 where the string is over.
      occupied: [N + 1, states] float64, probability of being in a state before position t.
      shortest: symbols of the shortest whole string.
      bits: the entropy of a string.
    """

    first: np.ndarray
    second: np.ndarray
    probability: np.ndarray
    symbols: np.ndarray
    occupied: np.ndarray
    shortest: int
    bits: float


def bounded(shortest: int, longest: int) -> Chain:
    """The grammar's own distribution, given that `shortest` to `longest` symbols are embedded.

    Conditioning a Markov chain on its end leaves a Markov chain: with h_t(s) the probability to end in time
    from state s at position t, a way from s to s' is taken with its own probability times h_t+1(s') / h_t(s).
    Only the ratios matter, so h is rescaled at every position and never underflows.

    Args:
      shortest, longest: symbols of the inner string, SHORTEST <= shortest <= longest.
    """
    last = longest + 4
    legal = NEXT >= 0
    way = legal / np.maximum(legal.sum(1, keepdims=True), 1)
    in_time = np.zeros(END + 1)
    in_time[END] = 1.0
    symbols = np.zeros((last, *NEXT.shape))
    for t in reversed(range(last)):
        weight = way * np.where(legal, in_time[NEXT], 0.0)
        total = weight.sum(1)
        symbols[t] = np.where(total[:, None] > 0, weight / np.where(total > 0, total, 1.0)[:, None], 0.0)
        total[END] = float(t >= shortest + 4)  # a string may be over by then
        in_time = total / total.max()
    occupied = np.zeros((last + 1, END + 1))
    occupied[0, START] = 1.0
    for t in range(last):
        occupied[t + 1, END] += occupied[t, END]
        np.add.at(occupied[t + 1], NEXT[legal], (occupied[t][:, None] * symbols[t])[legal])
    first = legal.argmax(1).astype(np.int32)
    second = (len(SYMBOLS) - 1 - legal[:, ::-1].argmax(1)).astype(np.int32)
    probability = symbols[np.arange(last)[:, None], np.arange(END + 1), first]
    with np.errstate(divide="ignore", invalid="ignore"):
        surprise = np.where(symbols > 0, -symbols * np.log2(symbols), 0.0).sum(-1)
    bits = float((occupied[:-1] * surprise).sum())
    return Chain(first, second, probability, symbols, occupied, shortest + 4, bits)
