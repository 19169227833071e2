"""Writes figures: in several formats and widths, fonts embedded, with the data of each beside it as CSV."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from lstm_jax.analysis.style import WIDTH, rewrap
from lstm_jax.support.csv_files import write_csv
from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import check_name

__all__ = ["COLUMNS", "FORMATS", "PNG", "Print", "figure_data", "save_figures"]

FORMATS = ("png", "pdf", "svg")
"""File formats of figures."""
COLUMNS = {1: 3.4, 2: WIDTH}
"""Columns of a page that a figure spans -> inches: a column of a two-column paper, the whole text width."""
_SETTINGS: Any = {
    "pdf.fonttype": 42,  # TrueType: text in the PDF stays text, with its font embedded
    "ps.fonttype": 42,
    "svg.fonttype": "path",  # outlines: an SVG cannot rely on the reader's fonts
    "svg.hashsalt": "lstm_jax",  # the same figure gives the same file
}
COLUMN_NAMES = ("panel", "kind", "series", "x", "y", "value")
"""Of the CSV file beside a figure."""
_NO_DATE: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}


class Print(NamedTuple):
    """How figures are written.

    Attributes:
      formats: names of FORMATS; each figure is written in all of them.
      columns: of a page that it spans, a key of COLUMNS.
      dpi: of PNG files.
    """

    formats: tuple[str, ...] = ("png",)
    columns: int = 2
    dpi: int = 200

    @classmethod
    def of(cls, formats: str | Iterable[str], columns: int = 2) -> "Print":
        """Returns the settings of a command line: formats with commas between, and the columns.

        Raises:
          UserError: an unknown format, none at all, or another number of columns.
        """
        words = formats.split(",") if isinstance(formats, str) else list(formats)
        names = tuple(dict.fromkeys(word.strip().lower() for word in words if word.strip()))
        if not names:
            raise UserError(f"--format names no format: allowed: {', '.join(FORMATS)}")
        for name in names:
            check_name(name, FORMATS, "format of a figure")
        if columns not in COLUMNS:
            raise UserError(f"--columns={columns}: 1 (a column of a paper, 3.4 inches) or 2 (its width)")
        return cls(names, columns)


PNG = Print()
"""PNG files of the whole text width."""


def save_figures(
    figures: Mapping[str, Figure], directory: str | os.PathLike[str], how: Print = PNG
) -> list[Path]:
    """Writes each figure as NAME.FORMAT and its data as NAME.csv, by renames; returns the figures' files.

    Args:
      figures: by name.
      directory: made where it is missing.
      how: formats and width.

    Raises:
      UserError: a file cannot be written.
    """
    files = []
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        for name, figure in figures.items():
            _fit(figure, how.columns)
            for form in how.formats:
                path = Path(directory) / f"{name}.{form}"
                temporary = path.with_name(path.name + ".tmp")
                with matplotlib.rc_context(_SETTINGS):
                    figure.savefig(temporary, format=form, dpi=how.dpi, metadata=_NO_DATE[form])
                os.replace(temporary, path)
                files.append(path)
            rows = getattr(figure, "rows", None)
            path = Path(directory) / f"{name}.csv"
            write_csv(path, figure_data(figure) if rows is None else rows, () if rows else COLUMN_NAMES)
    except OSError as error:
        raise UserError(
            f"cannot write figures to {directory}: {error.strerror}; free space or allow writing there"
        ) from error
    return files


def _fit(figure: Figure, columns: int) -> None:
    """Makes a figure as wide as the columns; in one column the legend goes below the axes."""
    if columns == 2:
        return
    width, height = figure.get_size_inches()
    if width <= COLUMNS[columns]:
        return
    for legend in list(figure.legends):
        names = [text.get_text() for text in legend.get_texts()]
        legend.remove()
        handles = [handle for handle in legend.legend_handles if handle is not None]
        figure.legend(
            handles, names, title=legend.get_title().get_text() or None, title_fontsize=8,
            fontsize=8, frameon=False, ncols=2, loc="outside lower center",
        )  # fmt: skip
        height += 0.1 * len(names)
    for axes in figure.axes:
        if isinstance(locator := axes.xaxis.get_major_locator(), MaxNLocator):
            locator.set_params(nbins=4)
    figure.set_size_inches(COLUMNS[columns], min(height, 1.6 * COLUMNS[columns] + 2))
    rewrap(figure)


def figure_data(figure: Figure) -> Iterator[dict[str, Any]]:
    """Yields the data that a figure shows, a row a point: panel, kind, series, x, y, value.

    Lines and points have x and y, bands their lower and upper y as two kinds of rows, bars their place
    and length, images a value for each x and y. Positions that stand for names are given by name.
    """
    for index, axes in enumerate(figure.axes):
        if not axes.get_visible() or axes.get_label() == "<colorbar>":
            continue
        panel = axes.get_title() or axes.get_ylabel().partition("\n")[0] or f"panel {index + 1}"
        names = _names_of(axes)
        for row in _rows_of(axes):
            yield {"panel": panel, **row, "x": _named(row["x"], names[0]), "y": _named(row["y"], names[1])}


def _names_of(axes: Axes) -> tuple[dict[float, str], dict[float, str]]:
    """Returns for x and y which place stands for which name, where the ticks are names and no numbers."""
    found = []
    for axis in (axes.xaxis, axes.yaxis):
        texts = [label.get_text() for label in axis.get_majorticklabels()]
        numeric = all(_is_number(text) for text in texts if text)
        places = [float(place) for place in axis.get_majorticklocs()]
        fixed = not numeric and len(texts) == len(places)
        found.append({round(p, 6): text for p, text in zip(places, texts, strict=True)} if fixed else {})
    return found[0], found[1]


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "").replace("\N{MINUS SIGN}", "-").replace("$", ""))
    except ValueError:
        return "mathdefault" in text
    return True


def _named(value: Any, names: Mapping[float, str]) -> Any:
    return names.get(round(float(value), 6), value) if isinstance(value, float) else value


def _series(artist: Any) -> str:
    label = str(artist.get_label())
    return str(artist.get_gid() or ("" if label.startswith("_") else label))


def _rows_of(axes: Axes) -> Iterator[dict[str, Any]]:
    def row(kind: str, series: str, x: Any, y: Any, value: Any = "") -> dict[str, Any]:
        return {"kind": kind, "series": series, "x": x, "y": y, "value": value}

    for line in axes.lines:
        xs: np.ndarray = np.asarray(line.get_xdata(orig=False))
        ys: np.ndarray = np.asarray(line.get_ydata(orig=False))
        level = line.get_transform() == axes.get_yaxis_transform()
        if level and len(ys):
            yield row("level", _series(line), "", float(ys[0]))
        elif line.get_transform().contains_branch(axes.transData):
            kind = "point" if line.get_linestyle() == "None" else "line"
            for x, y in zip(xs, ys, strict=True):
                yield row(kind, _series(line), float(x), float(y))
    for collection in axes.collections:
        if isinstance(collection, PathCollection):
            for x, y in np.asarray(collection.get_offsets()):
                yield row("point", _series(collection), float(x), float(y))
        elif isinstance(collection, PolyCollection):
            edges: dict[float, list[float]] = {}
            for x, y in np.concatenate([path.vertices for path in collection.get_paths()]):
                edges.setdefault(float(x), []).append(float(y))
            for kind, edge in (("band low", min), ("band high", max)):
                for x in sorted(edges):
                    yield row(kind, _series(collection), x, edge(edges[x]))
        elif hasattr(collection, "get_segments"):
            for segment in collection.get_segments():
                for x, y in segment:
                    yield row("line", _series(collection), float(x), float(y))
    for patch in axes.patches:
        if isinstance(patch, Rectangle):
            x, y = patch.get_x() + patch.get_width() / 2, patch.get_y() + patch.get_height() / 2
            length = patch.get_width() if _horizontal(axes) else patch.get_height()
            yield row("bar", _series(patch), float(x), float(y), float(length))
    for image in axes.images:
        values: np.ndarray = np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)
        if values.ndim != 2:
            continue
        left, right, bottom, top = image.get_extent()
        across, down = values.shape[1], values.shape[0]
        for j in range(down):
            for i in range(across):
                x = left + (i + 0.5) * (right - left) / across
                y = top + (j + 0.5) * (bottom - top) / down
                yield row("cell", _series(image), float(x), float(y), float(values[j, i]))


def _horizontal(axes: Axes) -> bool:
    """Returns whether the axes has horizontal bars."""
    return any(getattr(container, "orientation", "") == "horizontal" for container in axes.containers)
