"""The fields of a config by their dotted names, and values put into them with their types checked."""

import ast
import copy
import math
from typing import Any

from ml_collections import ConfigDict

from lstm_jax.runs.directory import set_field
from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import check_name

__all__ = ["check_field", "convert", "get", "parse", "with_values"]


def check_field(config: ConfigDict, name: str) -> None:
    """Raises UserError unless the dotted `name` is a field of `config`, and no section."""
    section: Any = config
    walked: list[str] = []
    for part in name.split("."):
        where = ".".join(walked)
        if not isinstance(section, ConfigDict):
            raise UserError(f"unknown config field {name!r}: {where} is a value and has no fields")
        kind = f"config field {name!r}: {where or 'the config'} has no field"
        check_name(part, sorted(section), kind)
        walked.append(part)
        section = section[part]
    if isinstance(section, ConfigDict):
        raise UserError(
            f"config field {name!r} is a section: sweep one of its fields: {', '.join(sorted(section))}"
        )


def get(config: ConfigDict, name: str) -> Any:
    """The value of the dotted field `name`, which must exist."""
    value: Any = config
    for part in name.split("."):
        value = value[part]
    return value


def convert(name: str, value: Any, like: Any) -> Any:
    """`value` as the type of `like`, the config's own value of the field `name`.

    A number serves where text is wanted ("1" for a forget bias of 1) and a whole number where a float is;
    one value serves as a tuple of one. Nothing else is cast.

    Raises:
      UserError: it is of another type, or no finite number.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name} cannot be {value}: give a finite number (Python's largest is 1.8e308)")
    if isinstance(like, str) and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(like, tuple | list):
        value = value if isinstance(value, tuple | list) else (value,)
        return tuple(convert(name, item, like[0]) for item in value) if like else tuple(value)
    if isinstance(like, bool) == isinstance(value, bool):
        if isinstance(value, type(like)):
            return value
        if isinstance(like, float) and isinstance(value, int):
            return float(value)
    raise UserError(
        f"{name}={value!r} is of type {type(value).__name__}; the field is of type {type(like).__name__} "
        f"(its value is {like!r})"
    )


def parse(name: str, text: str, like: Any) -> Any:
    """A value typed on the command line, as the type of `like`; a template `{...}` stays text.

    Raises:
      UserError: it is of another type.
    """
    if isinstance(like, str) or "{" in text:
        return text
    word = text.strip().capitalize() if text.strip().lower() in ("true", "false") else text
    try:
        value = ast.literal_eval(word)
    except (ValueError, SyntaxError):
        value = text
    return convert(name, value, like)


def with_values(config: ConfigDict, values: dict[str, Any]) -> ConfigDict:
    """A copy of `config` with other values in the dotted fields, of the types that `convert` gives."""
    changed = copy.deepcopy(config)
    for name, value in values.items():
        set_field(changed, name, value)
    return changed
