"""The notebooks: each has its source beside it and no outputs, writes no code again, and CI executes it."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
each = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)

STATEMENTS = (ast.Import, ast.ImportFrom, ast.Assign, ast.AugAssign, ast.Expr, ast.For, ast.If, ast.Assert)
FORBIDDEN = (ast.ClassDef, ast.AsyncFunctionDef, ast.Lambda, ast.While, ast.Try, ast.With)


def code_of(source):
    """The Python of a source: jupytext writes magics as comments."""
    return ast.parse(source.read_text(encoding="utf-8"))


def markdown_of(source):
    cells = json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]


def test_they_are_numbered_and_nothing_else_lies_there():
    assert [path.stem[:2] for path in SOURCES] == [f"{n:02d}" for n in range(1, len(SOURCES) + 1)]
    assert sorted(FOLDER.glob("*.ipynb")) == [source.with_suffix(".ipynb") for source in SOURCES]


@each
def test_the_notebook_is_what_its_source_gives(source):
    pytest.importorskip("jupytext", reason="needs pip install -e '.[notebooks]'")
    spec = importlib.util.spec_from_file_location("pair", FOLDER / "pair.py")
    pair = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pair)
    written = source.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert written == pair.notebook(source), "run: python notebooks/pair.py"


@each
def test_outputs_are_stripped(source):
    cells = json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@each
def test_it_imports_calls_and_plots_and_writes_no_function(source):
    """But 05, which is about writing a cell; what is missing elsewhere goes into the package, with a test."""
    allowed = (*STATEMENTS, ast.FunctionDef) if source.stem.startswith("05") else STATEMENTS
    for node in code_of(source).body:
        assert isinstance(node, allowed), f"line {node.lineno}"
    assert not [n.lineno for n in ast.walk(code_of(source)) if isinstance(n, FORBIDDEN)]


@each
def test_it_writes_to_a_temporary_directory_only(source):
    text = source.read_text(encoding="utf-8")
    assert not re.search(r"\bopen\(|savefig|write_text|mkdir|os\.", text)
    if re.search(r"\brun\.run\(|train\.run\(", text):
        assert "tempfile.TemporaryDirectory()" in text
        runs = re.findall(r"(?:run|train)\.run\([^,]+, ([^,)]+)", text)
        assert runs and all("workdir.name" in where or where == "place" for where in runs)
        assert "place = " not in text or 'place = f"{workdir.name}/' in text


@each
def test_its_texts_are_short_and_name_what_to_see(source):
    texts, code = markdown_of(source), source.read_text(encoding="utf-8")
    assert texts[0].startswith(f"# {source.stem[:2]} ")
    assert max(len(re.findall(r"\w{2,}", text)) for text in texts) < 130
    drawn = len(re.findall(r"\bfigure\(|_figure\(|\.figures\[|compared\(|_bands\(|_curve\(|subplots\(", code))
    raised = sum("*What to see:*" in text for text in texts)
    assert drawn - 1 <= raised, f"{drawn} figures, and {raised} times what to see"


def test_ci_executes_them_all():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "notebooks=(notebooks/*.ipynb)" in script and "jupyter execute" in script


def test_the_readme_lists_them():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.stem for path in SOURCES if f"notebooks/{path.stem}.ipynb" not in text] == []
