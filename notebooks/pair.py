"""Writes each notebook from its source: `python notebooks/pair.py`, after a change of notebooks/NN_*.py.

The source of a notebook is the .py file beside it, in jupytext's percent format: it reads well in a review.
The .ipynb has no outputs, and cells numbered in order, so that it changes only where the source does.
"""

from pathlib import Path

HERE = Path(__file__).parent


def notebook(source: Path) -> str:
    import jupytext
    import nbformat

    made = jupytext.read(source, fmt="py:percent")
    for number, cell in enumerate(made.cells, 1):
        cell["id"] = f"cell-{number}"
        cell["metadata"] = {}
    made.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.validate(made)
    return nbformat.writes(made) + "\n"


def sources() -> list[Path]:
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


if __name__ == "__main__":
    for source in sources():
        source.with_suffix(".ipynb").write_text(notebook(source), encoding="utf-8")
