"""What a public docstring owes its reader, read from the source: nothing is imported."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "lstm_jax").rglob("*.py"))


def offered(tree: ast.Module) -> set[str]:
    """The names in `__all__`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
    return set()


def public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Functions and classes of `__all__`, and the public methods of these classes."""
    names = offered(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names:
            yield node
            if isinstance(node, ast.ClassDef):
                inner = (item for item in node.body if isinstance(item, ast.FunctionDef))
                yield from (item for item in inner if not item.name.startswith("_"))


def parameters(node: ast.FunctionDef) -> list[str]:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [argument.arg for argument in every if argument.arg not in ("self", "cls")]


def complaints(text: str) -> list[str]:
    """What is owed, by name."""
    found = []
    for node in public(ast.parse(text)):
        doc = ast.get_docstring(node)
        if not doc:
            found.append(f"{node.name} has no docstring")
            continue
        if not isinstance(node, ast.FunctionDef):
            continue
        raising = (item.exc for item in ast.walk(node) if isinstance(item, ast.Raise))
        ours = any(isinstance(exc, ast.Call) and ast.unparse(exc.func) == "UserError" for exc in raising)
        if ours and not re.search(r"[Rr]aises?\b|errors as", doc):
            found.append(f"{node.name} raises UserError and does not say so")
        if "Args:" in doc:
            missing = [name for name in parameters(node) if not re.search(rf"\b{name}\b", doc)]
            found += [f"{node.name} does not tell of {name}" for name in missing]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_public_docstrings_are_whole(file: Path):
    assert complaints(file.read_text(encoding="utf-8")) == []


def test_the_check_finds_what_is_missing():
    text = '''
__all__ = ["f", "g", "C"]
def f(x): "Says nothing."; raise UserError("no")
def g(x, y):
    """Does.

    Args:
      x: one.
    """
class C:
    """Is."""
    def m(self): return 1
def hidden(): raise UserError("no")
'''
    assert complaints(text) == [
        "f raises UserError and does not say so",
        "g does not tell of y",
        "m has no docstring",
    ]
