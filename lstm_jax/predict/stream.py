"""Many texts, one a line, each answered as it comes; a line that cannot be answered stops no other."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lstm_jax.corpora.reading import check_unicode, read_json
from lstm_jax.support.errors import UserError

__all__ = ["FORMATS", "answers", "request"]

FORMATS = ("auto", "text", "json")
"""What lines are: text; JSON objects {"text": ...}; or either, an object where the line begins with {."""


def request(line: bytes, form: str = "auto") -> tuple[str, dict[str, Any]]:
    """The text that a line asks about, and what is to stand in its answer: the object's `id`, if it has one.

    Args:
      line: UTF-8, with or without its line break.
      form: of FORMATS.

    Raises:
      UserError: it is not UTF-8, no such object, or its `id` is beyond what JSON gives back.
    """
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 ({error.reason}): convert it, e.g. with iconv -t UTF-8") from error
    if form == "text" or (form == "auto" and not text.lstrip().startswith("{")):
        return text, {}
    hint = "; --format=text reads such a line as text" if form == "auto" else ""
    try:
        found = read_json(text)
    except UserError as error:
        raise UserError(f"{error}{hint}") from error
    if not isinstance(found, dict) or not isinstance(found.get("text"), str):
        example = '{"text": "the company said"}'
        raise UserError(f'expected a JSON object with a string "text", e.g. {example}{hint}')
    check_unicode(found["text"], '"text"')
    if "id" not in found:
        return found["text"], {}
    try:
        json.dumps(found["id"], allow_nan=False)
    except (ValueError, RecursionError) as error:  # 1e999 is JSON, and no number that can be given back
        raise UserError(f'"id" cannot be given back ({error}): give a text or a smaller number') from error
    return found["text"], {"id": found["id"]}


def answers(
    lines: Iterable[bytes], answer: Callable[[str], dict[str, Any]], form: str = "auto"
) -> Iterator[dict[str, Any]]:
    """An object for each line, before the next line is read.

    It holds the line's number from 1 and its `id` where it has one, then either the text and its answer, or
    `error`, one line of what was wrong.

    Args:
      lines: as they come; an UTF-8 mark before the first is left out.
      answer: (text) -> its answer; raises UserError for a text that it cannot read.
      form: of FORMATS.
    """
    for number, line in enumerate(lines, 1):
        told: dict[str, Any] = {"line": number}
        try:
            text, kept = request(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, form)
            told |= kept
            found = {"text": text, **answer(text)}
        except UserError as error:
            found = {"error": str(error)}
        yield told | found
