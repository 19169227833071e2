"""Which keyword was blanked out of this line of Python? The embedded default, from Python's own library.

    ___ name in sorted(found):         for
    if not name ___ name in seen:      or
    ___ chunk := read(""):             while

Every line of code of 4 to 40 tokens that has one of 12 keywords gives one text: the rarest of its keywords is
blanked out. What is in quotes is left out, comments and docstrings are no lines.
Nothing but the order tells where the blank is: a bag of words sees the same words for every place of it.

Under Python 3.11.7 these are 22,962 different lines of 437 modules, 17,486 / 2,619 / 2,857 to train, validate
and test; whole modules are held out, and no text is in two splits. `return` is a quarter of them, `with` one
in ninety. Some no one can tell from a line alone: `elif` from `if`, or whether it is `and` or `or`.
"""

import re
from collections.abc import Iterator

from lstm_jax.corpora.labelled.library import modules, version
from lstm_jax.corpora.labelled.texts import LabelledTexts, Row, checked, split_documents, without_repeats

__all__ = ["BLANK", "KEYWORDS", "lines_of_code", "load", "texts_of"]

BLANK = "___"
KEYWORDS = ("while", "with", "as", "or", "and", "elif", "for", "not", "is", "in", "return", "if")
"""Of a line's keywords the first of these is blanked out: the rarer ones first, `for` before its `in`."""
TOKENS = (4, 40)
"""Of a line: a shorter one tells nothing, a longer one is a table."""

_QUOTED_OR_COMMENT = re.compile(
    r"""
      \"\"\" [^"\\]* (?: (?: \\. | "(?!"") ) [^"\\]* )* \"\"\"
    | ''' [^'\\]* (?: (?: \\. | '(?!'') ) [^'\\]* )* '''
    | "(?: [^"\\\n] | \\. )*" | '(?: [^'\\\n] | \\. )*'
    | \#[^\n]*
    """,
    re.VERBOSE | re.DOTALL,
)
_KEYWORD = re.compile(rf"\b(?:{'|'.join(KEYWORDS)})\b")
_TOKEN = re.compile(r"\w+|([^\w\s])\1*")


def lines_of_code(source: str) -> Iterator[str]:
    """The lines of a module without indentation and comments; whatever is in quotes becomes ""."""

    def cleared(match: re.Match[str]) -> str:
        return "" if match[0].startswith("#") else '""'

    for line in _QUOTED_OR_COMMENT.sub(cleared, source).split("\n"):
        if stripped := " ".join(line.split()):
            yield stripped


def texts_of(source: str) -> Iterator[tuple[str, str]]:
    """(line with the blank, keyword) for each line of a module that gives one."""
    for line in lines_of_code(source):
        found = list(_KEYWORD.finditer(line))
        if found and TOKENS[0] <= len(_TOKEN.findall(line)) <= TOKENS[1]:
            place = min(found, key=lambda match: KEYWORDS.index(match[0]))
            yield line[: place.start()] + BLANK + line[place.end() :], place[0]


def load(held_out: float, split_seed: int) -> LabelledTexts:
    """The lines, by whole modules in three splits. Raises UserError where Python has no sources."""
    rows = [Row(text, label, path, path) for path, source in modules() for text, label in texts_of(source)]
    parts = without_repeats(split_documents(rows, held_out, split_seed))
    return checked(parts, "punctuation", {"source": "keywords", "python": version()})
