"""Strings as configs write them: a function and its arguments, `chrono(784)`; options, `chunk=10,slots=8`."""

import math
import re
from typing import NamedTuple

from lstm_jax.support.errors import UserError

__all__ = ["Call", "parse_call", "parse_options", "split_outside_parentheses"]


class Call(NamedTuple):
    """A parsed `name(arg, arg)`; `text` and `kind` are for error messages."""

    name: str
    args: tuple[str, ...]
    text: str
    kind: str

    def numbers(self, count: int | None, meaning: str) -> tuple[float, ...]:
        """The arguments as finite numbers: exactly `count` of them, or at least one where None.

        Raises:
          UserError: too many, too few, or not numbers; the message says what they mean.
        """
        try:
            values = tuple(float(arg) for arg in self.args)
        except ValueError:
            values = ()
        wrong_count = len(values) != count if count is not None else not values
        if wrong_count or not all(math.isfinite(value) for value in values):
            raise UserError(f"{self.kind} {self.text!r}: {self.name} takes {meaning}")
        return values


def split_outside_parentheses(text: str) -> list[str]:
    """The parts between the commas that stand outside parentheses: "chrono(9), 1" has two."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text)]


def parse_call(text: str, kind: str) -> Call:
    """Parses `name` or `name(arg, ...)`; `kind` is the noun for messages, e.g. "forget_bias".

    Raises:
      UserError: the text has another form.
    """
    match = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*(?:\(([^()]*)\))?\s*", text) if isinstance(text, str) else None
    if match is None:
        raise UserError(f"{kind} {text!r} is not of the form name or name(number, ...)")
    args = match.group(2)
    return Call(match.group(1), tuple(a.strip() for a in args.split(",")) if args else (), text, kind)


def parse_options(text: str, kind: str) -> dict[str, bool | int | float | str]:
    """Parses `name=value,name=value`; a value is true or false, a number, or else a word as it stands.

    Commas inside parentheses part nothing: "timescales=timescale(3,4)" is one option. "" is none.

    Raises:
      UserError: the text has another form, or names an option twice; `kind` is the noun for the message.
    """
    if not isinstance(text, str):
        raise UserError(f"{kind} {text!r} is not text; write name=value,name=value")
    options: dict[str, bool | int | float | str] = {}
    for part in split_outside_parentheses(text) if text.strip() else []:
        match = re.fullmatch(r"([A-Za-z_]\w*)\s*=\s*(\S.*)", part)
        if match is None:
            raise UserError(f"{kind} {text!r}: {part!r} is not name=value; e.g. chunk=10,slots=8")
        name, value = match.groups()
        if name in options:
            raise UserError(f"{kind} {text!r} gives {name!r} twice")
        options[name] = _value(value)
    return options


def _value(word: str) -> bool | int | float | str:
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            continue
    return word
