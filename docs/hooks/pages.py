"""MkDocs hook: pages that come from the code (reference, galleries, tutorials) and from experiments/.

They are generated at each build, so that no page can disagree with the registries.
"""

import inspect
import os
import re
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
ROOMS = {
    "cells": "cells, forget-bias forms, activations, wrappers",
    "unroll": "backends that run a cell over time",
    "tasks": "what is to be learned",
    "models": "what stands around the cells",
    "training": "one run, or K of one shape",
    "sweep": "many runs",
    "predict": "a trained run as Python",
    "evaluate": "exact figures of a model",
    "analysis": "arrays in, arrays and figures out",
    "explore": "the local page",
    "compat": "weights and programs for other libraries",
    "corpora": "texts, labelled texts, images",
    "runs": "a run on disk",
    "support": "notation, errors, registry, key streams, pytrees",
}


def module_names(room: str) -> list[str]:
    """The public modules of a room, in alphabetical order."""
    names = []
    for file in sorted((ROOT / "lstm_jax" / room).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        if not any(part.startswith("_") or part.endswith("_builder") for part in parts):
            names.append(".".join(parts))
    return names


def reference(room: str) -> str:
    """A page with every public name of a room."""
    blocks = "\n\n".join(f"::: {name}" for name in module_names(room))
    return f"# lstm_jax.{room}\n\n{ROOMS[room][0].upper()}{ROOMS[room][1:]}.\n\n{blocks}\n"


def paragraphs(documented: object) -> str:
    """The docstring up to its section `Args`, as Markdown; equations stay as they are written."""
    text = re.split(r"\n(?:Args|Raises|Returns):\n", inspect.getdoc(documented) or "")[0]
    return "\n\n".join(re.sub(r"\s+", " ", block) for block in text.split("\n\n")).strip()


def served(cell: Any) -> str:
    """The backends that run a cell on a CPU or an NVIDIA GPU."""
    from lstm_jax.support.errors import UserError
    from lstm_jax.unroll import BACKENDS, choose

    names = []
    for name in BACKENDS:
        for platform in ("cpu", "gpu"):
            try:
                choose(cell, name, platform=platform)
            except UserError:
                continue
            names.append(name if platform == "cpu" else f"{name} (GPU)")
            break
    return ", ".join(names)


def cells_gallery() -> str:
    """A page with every cell: equations and source, carry, parameters, backends."""
    import jax

    from lstm_jax.cells import CELLS, make_cell

    lines = [
        "# Cells",
        "",
        "From `lstm_jax.cells.CELLS`; shapes are for D = 3 inputs and H = 4 units.",
    ]
    for name, factory in CELLS.items():
        cell = make_cell(name, 4)
        params = jax.eval_shape(lambda key, cell=cell: cell.init(key, 3), jax.random.key(0))
        carry = jax.eval_shape(lambda params, cell=cell: cell.carry(params, 2), params)
        leaves = ", ".join(
            f"`{leaf}` {list(value.shape)}" for leaf, value in params.items() if hasattr(value, "shape")
        )
        fields = ", ".join(f"`{field}`" for field in getattr(carry, "_fields", ()))
        lines += ["", f"## `{name}`", "", paragraphs(factory), ""]
        lines += [f"- carry: {fields}", f"- parameters: {leaves}", f"- backends: {served(cell)}"]
    return "\n".join(lines) + "\n"


def tasks_gallery() -> str:
    """A page with every generated task: what it asks, chance, criterion, one short sequence."""
    import jax
    import numpy as np

    from lstm_jax.tasks import GENERATORS

    lines = [
        "# Memory tasks",
        "",
        "From `lstm_jax.tasks.GENERATORS`, with each task's default arguments.",
    ]
    for name, make in GENERATORS.items():
        found = make()
        chance = ", ".join(f"{metric} {value:.4g}" for metric, value in found.chance.items())
        lines += ["", f"## `{name}`", "", paragraphs(make), "", f"- chance: {chance}"]
        if found.solved:
            lines.append(f"- solved: {' and '.join(map(str, found.solved))}")
        lines.append(f"- length T: {found.steps}")
        if found.vocab is not None and not getattr(found, "lengths", None):
            example = jax.jit(found.draw)(jax.random.key(0))
            tokens = " ".join(map(str, np.asarray(example.inputs)[:40].tolist()))
            lines.append(f"- one sequence: `{tokens}{' ...' if found.steps > 40 else ''}`")
    return "\n".join(lines) + "\n"


def fields_page() -> str:
    """A page with every config field: default, range, meaning."""
    import runpy
    import sys

    sys.path.insert(0, str(ROOT))
    rows = runpy.run_path(str(ROOT / "experiments" / "list.py"))["fields"]()
    lines = ["# Config fields", "", "From `configs/base.py` and `lstm_jax.training.fields.RANGES`.", ""]
    lines += ["| field | default; range; meaning |", "| --- | --- |"]
    lines += [f"| `{name}` | {text.replace('|', chr(92) + '|')} |" for name, text in rows.items()]
    return "\n".join(lines) + "\n"


def tutorial(source: Path) -> str:
    """A notebook's source as a page, without its pictures."""
    import jupytext

    text = jupytext.writes(jupytext.read(source, fmt="py:percent"), fmt="md")
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    name = source.with_suffix(".ipynb").name
    return f"{text}\n\n*Run it for the pictures: `notebooks/{name}` (`pip install -e '.[notebooks]'`).*\n"


def on_config(config: Any) -> Any:
    """Completes the navigation: every tutorial, every page of docs/, every room."""
    groups = {name: entry for item in config.nav if isinstance(item, dict) for name, entry in item.items()}
    groups["Tutorials"] += [f"tutorials/{source.stem}.md" for source in SOURCES]
    groups["Reference"] += [f"reference/{room}.md" for room in ROOMS]
    named = {page for item in config.nav for page in ([item] if isinstance(item, str) else [])}
    pages = {file.name for file in (ROOT / "docs").glob("*.md")}
    groups["How to"] += sorted(pages - named - set(groups["How to"]))
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the generated pages."""
    from mkdocs.structure.files import File

    pages = {f"reference/{room}.md": reference(room) for room in ROOMS}
    pages |= {"gallery/cells.md": cells_gallery(), "gallery/tasks.md": tasks_gallery()}
    pages["gallery/fields.md"] = fields_page()
    for source in SOURCES:
        pages[f"tutorials/{source.stem}.md"] = tutorial(source)
    for page, source in (("results.md", "RESULTS.md"), ("log.md", "LOG.md")):
        pages[page] = (ROOT / "experiments" / source).read_text(encoding="utf-8")
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        target = "index.md" if name == "README.md" else name.lower()
        pages[target] = (ROOT / name).read_text(encoding="utf-8")
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    for figure in sorted((ROOT / "experiments" / "figures").glob("*.png")):
        files.append(File.generated(config, f"figures/{figure.name}", abs_src_path=str(figure)))
    return files


LINKS = [
    (r"\]\((?:\.\./)*experiments/RESULTS\.md", "](/results.md"),
    (r"\]\((?:\.\./)*experiments/LOG\.md", "](/log.md"),
    (r"\]\((?:\.\./)*experiments/figures/", "](/figures/"),
    (r"\]\(figures/", "](/figures/"),
    (r"\]\((?:\.\./)*notebooks/(\d\d_\w+)\.ipynb", r"](/tutorials/\1.md"),
    (r"\]\((\d\d_\w+)\.ipynb", r"](/tutorials/\1.md"),
    (r"\]\(docs/", "](/"),
    (r"\]\(CHANGELOG\.md", "](/changelog.md"),
    (r"\]\(CONTRIBUTING\.md", "](/contributing.md"),
]


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Turns links between files of the repository into links between pages."""
    for pattern, target in LINKS:
        markdown = re.sub(pattern, target, markdown)
    depth = page.file.src_uri.count("/")
    markdown = re.sub(r"\]\(/", "](" + "../" * depth, markdown)
    return re.sub(r"\[([^\]]+)\]\((LICENSE|CITATION\.cff)\)", r"\1", markdown)
