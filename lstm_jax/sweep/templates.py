"""Values that depend on a member's other fields: "chrono({task.length})", "{2 * task.length}"."""

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

from lstm_jax.support.errors import UserError

__all__ = ["fill", "is_template", "label"]

_BRACES = re.compile(r"\{([^{}]*)\}")
_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def is_template(value: Any) -> bool:
    """Whether `value` is text with a part in braces."""
    return isinstance(value, str) and _BRACES.search(value) is not None


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (above := _dotted(node.value)) is not None:
        return f"{above}.{node.attr}"
    return None


def _value(node: ast.expr, look: Callable[[str], Any], text: str) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, look, text), _value(node.right, look, text)
        try:
            return _OPERATORS[type(node.op)](left, right)
        except (TypeError, ZeroDivisionError) as error:
            raise UserError(f"{text!r} cannot be computed: {error}") from error
    if (name := _dotted(node)) is not None:
        return look(name)
    raise UserError(f"{text!r}: in braces stands a field or arithmetic of fields, e.g. {{2 * task.length}}")


def fill(template: str, look: Callable[[str], Any]) -> Any:
    """The template with what is in braces computed.

    Args:
      template: text with parts in braces: a dotted field, or + - * / // of fields and numbers.
      look: (dotted name) -> the field's value; raises UserError for what is no field.

    Returns:
      Text; or the bare value where the template is one pair of braces and nothing else.

    Raises:
      UserError: the braces hold something else, or `look` raises.
    """

    def one(inside: str) -> Any:
        try:
            node = ast.parse(inside.strip(), mode="eval").body
        except SyntaxError:
            raise UserError(f"{template!r}: {inside!r} is not a field or arithmetic of fields") from None
        return _value(node, look, template)

    whole = _BRACES.fullmatch(template)
    if whole:
        return one(whole[1])

    def text(match: re.Match) -> str:
        value = one(match[1])
        return f"{value:g}" if isinstance(value, float) else str(value)

    return _BRACES.sub(text, template)


def label(template: str) -> str:
    """The template for a person: "chrono({task.length})" -> "chrono(length)"."""
    return _BRACES.sub(lambda match: re.sub(r"[A-Za-z_][\w.]*\.(\w+)", r"\1", match[1]), template)
