"""What the figures share: colours that the colour-blind tell apart, axes without frills, widths of a page."""

import logging
import re
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import Formatter, FuncFormatter, LogFormatter, LogLocator, NullFormatter

from lstm_jax.corpora.printable import printable

__all__ = [
    "COLOURS",
    "WIDTH",
    "headline",
    "in_words",
    "layer_colour",
    "log_ticks",
    "new_figure",
    "rewrap",
    "show_data",
    "shown_label",
    "shown_token",
    "tidy",
]

_log = logging.getLogger(__name__)

WIDTH = 6.4
"""Inches: the text width of a page, so that 8 points in a figure are 8 points in print."""
# Okabe and Ito 2008.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermilion": "#D55E00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "grey": "#555555",
    # Beyond seven, Tol's (2021, "muted"), which lie apart from those above in lightness too.
    "wine": "#882255",
    "olive": "#999933",
    "indigo": "#332288",
    "brown": "#7A4A00",
    "black": "#000000",
}


def layer_colour(layer: int) -> str:
    """The colour of a layer, from the input up."""
    names = ("sky", "blue", "green", "orange", "vermilion", "purple")
    return COLOURS[names[layer % len(names)]]


def _powers(formatter: Formatter) -> bool:
    """Whether these tick labels are matplotlib's own formulas, 10 to some power."""
    return isinstance(formatter, LogFormatter)


class _Page(Figure):
    """A figure whose texts are shown as they stand, whoever wrote them: a dollar begins no formula.

    Characters that the font lacks are drawn as boxes, and reported in one line instead of a warning each.
    """

    _told: frozenset[int] = frozenset()
    headline_text: str = ""
    rows: Sequence[Mapping[str, Any]] | None = None

    def draw(self, renderer: Any) -> None:
        """Draws; called by whatever saves or shows the figure."""
        for text in self.findobj(Text):
            text.set_parse_math(False)
        for axes in self.axes:
            for axis in (axes.xaxis, axes.yaxis):
                own = [
                    *(axis.get_majorticklabels() if _powers(axis.get_major_formatter()) else ()),
                    *(axis.get_minorticklabels() if _powers(axis.get_minor_formatter()) else ()),
                ]
                for label in own:
                    label.set_parse_math(True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            super().draw(renderer)
        missing = set()
        for warning in caught:
            if found := re.match(r"Glyph (\d+) .* missing from", str(warning.message)):
                missing.add(int(found[1]))
            else:
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno, source=warning.source
                )
        if missing - self._told:
            signs = printable("".join(map(chr, sorted(missing))), 24)
            _log.warning("matplotlib's font has no %s: boxes stand for that in the figure", signs)
            self._told |= missing


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """A figure of `width` by `height` inches that belongs to no window and to no pyplot state.

    Texts in it are shown as they stand; none is read as a formula.
    """
    return _Page(figsize=(width, height), dpi=150, layout="constrained")


def shown_token(token: str) -> str:
    """A token fit for an axis: space and line break visible, at most 14 characters."""
    return printable(token, 14)


def shown_label(label: str) -> str:
    """A label fit for an axis or a title: on one line, at most 24 characters."""
    return printable(label, 24, spaces=False)


def show_data(figure: Figure, rows: Iterable[Mapping[str, Any]]) -> None:
    """Gives a figure the rows of the CSV file beside it, where these are not simply what its axes show."""
    figure.rows = [dict(row) for row in rows]  # type: ignore[attr-defined]


def in_words(name: str) -> str:
    """Returns the name of a run, sweep or label as words: "greff_adding" as "Greff adding"."""
    words = name.replace("_", " ").replace(",", ", ").replace("=", " = ").strip()
    return words[:1].upper() + words[1:]


def headline(figure: Figure, title: str) -> None:
    """Writes the title above a figure, in as many lines as it needs; "" is none."""
    if title:
        figure.headline_text = title  # type: ignore[attr-defined]
        rewrap(figure)


def rewrap(figure: Figure) -> None:
    """Breaks the title of `headline` into lines that fit the figure's width as it is now."""
    if title := getattr(figure, "headline_text", ""):
        columns = int(78 * min(1.0, figure.get_figwidth() / WIDTH))
        figure.suptitle(textwrap.fill(title, columns, break_long_words=False), fontsize=10)


def tidy(axes: Axes) -> None:
    """A faint grid behind the data, no frame at top and right."""
    axes.grid(which="major", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Ticks of a logarithmic axis from `low` to `high`: 1, 2, 5, 10 where there is room, else 1, 10, 100."""
    narrow = high / low < 2000
    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0) if narrow else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
