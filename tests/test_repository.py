"""What holds for the repository as a whole: layers, imports, docstrings, names, the README's map."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lstm_jax"
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def in_a_process(script: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=900
    )


def test_every_module_imports_and_none_brings_tensorflow():
    names = [module_name(file) for file in FILES]
    done = in_a_process(
        "import importlib, json, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "lstm_jax" in loaded and "jax" in loaded
    assert not {"tensorflow", "torch"} & set(loaded)


def test_the_mathematics_runs_without_flax_optax_orbax_and_the_like():
    """The layers' contract sees import statements; this sees what they load."""
    done = in_a_process(
        "import json, sys, lstm_jax.models, lstm_jax.cells, lstm_jax.unroll, lstm_jax.tasks\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert not loaded & {"flax", "optax", "orbax", "ml_collections", "matplotlib", "tensorflow_datasets"}


def test_import_layers_hold():
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint, "--no-logo"], cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_module_says_what_it_is_and_what_it_offers(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    if file.name == "__init__.py" and not tree.body:
        return  # an empty package
    assert ast.get_docstring(tree), f"{file.name}: no docstring"
    if file == PACKAGE / "__init__.py" or not tree.body[1:]:
        return  # only the version, or only a docstring
    offered = exported(tree)
    assert offered is not None, f"{file.name}: no __all__"
    defined = top_level_names(tree)
    assert sorted(set(offered) - defined) == []
    assert len(set(offered)) == len(offered)
    missing = [
        node.name
        for node in public_definitions(tree)
        if not ast.get_docstring(node) and not is_overload(node)
    ]
    assert missing == []


def exported(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in node.targets):
            return ast.literal_eval(node.value)
    return None


def top_level_names(tree: ast.Module) -> set[str]:
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            names.update(
                name.id for target in node.targets for name in ast.walk(target) if hasattr(name, "id")
            )
        elif isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
    return names


def public_definitions(tree: ast.Module):
    """Functions and classes without an underscore, and the methods without one of such classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                inner = (child for child in node.body if isinstance(child, ast.FunctionDef))
                yield from (child for child in inner if not child.name.startswith("_"))


def is_overload(node: ast.AST) -> bool:
    return any("overload" in ast.dump(decorator) for decorator in getattr(node, "decorator_list", []))


def test_files_are_named_for_what_they_do():
    vague = {"utils", "util", "common", "helpers", "misc"}
    names = {part for file in FILES for part in file.relative_to(ROOT).with_suffix("").parts}
    assert not names & vague


def test_readme_maps_the_tree():
    """Each path of the map exists; each module and package of lstm_jax, and each folder, is in the map."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## Files\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section
    mapped = re.findall(r"^\| `([^`]+)` \|", section[1], re.MULTILINE)
    assert len(mapped) == len(set(mapped))
    assert [path for path in mapped if not (ROOT / path).exists()] == []
    inside = {
        f"lstm_jax/{entry.name}" + ("/" if entry.is_dir() else "")
        for entry in PACKAGE.iterdir()
        if entry.name not in ("__init__.py", "__pycache__") and (entry.suffix == ".py" or has_python(entry))
    }
    outside = {f"{entry.name}/" for entry in ROOT.iterdir() if has_python(entry)} - {"lstm_jax/"}
    assert sorted((inside | outside) - set(mapped)) == []


def has_python(entry: Path) -> bool:
    ours = entry.is_dir() and not entry.name.startswith((".", "_")) and entry.name not in ("runs", "build")
    return ours and any(entry.glob("*.py"))


def test_readme_commands_name_files_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = [line for block in re.findall(r"```(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    paths = {
        path
        for line in commands
        for path in re.findall(r"(?:configs|experiments|benchmarks|notebooks)/\w+\.(?:py|ipynb)", line)
    }
    assert "experiments/ptb_lm.py" in paths and "configs/quickstart.py" in paths
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


REPLACED = {
    *(
        "Trainee",
        "Crew",
        "Aside",
        "asides",
        "Legend",
        "legend_of",
        "parse_legend",
        "make_run",
        "first_params",
    ),
    *("keep_reading", "how_reading_changed", "how_texts_changed", "Board", "How"),
}
"""Names that the field's words have replaced: Session, Program, log context, TextEncoding, ..."""
MOVED = {
    *(
        "train",
        "crew",
        "trainee",
        "results",
        "state",
        "objective",
        "penalties",
        "parallel",
        "events",
        "optim",
    ),
    *("run_directory", "checkpoint", "metrics", "provenance", "progress", "interrupts", "distributed"),
    *("notation", "errors", "registry", "rng", "pytrees", "quiet", "report", "search", "instruments"),
}
"""Modules that stood beside each other in lstm_jax/ before the rooms."""


def test_no_replaced_name_is_left():
    nodes = [
        (str(file.relative_to(ROOT)), getattr(node, "id", None) or getattr(node, "name", None))
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name | ast.ClassDef | ast.FunctionDef)
    ]
    assert [(file, name) for file, name in nodes if name in REPLACED] == []


def test_no_module_has_moved_back():
    beside = {entry.stem for entry in PACKAGE.iterdir()}
    assert beside & MOVED == set()
