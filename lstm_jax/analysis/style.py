"""What the figures share: colours that the colour-blind tell apart, axes without frills, widths of a page."""

import textwrap

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

__all__ = ["COLOURS", "WIDTH", "headline", "layer_colour", "log_ticks", "new_figure", "tidy"]

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
}


def layer_colour(layer: int) -> str:
    """The colour of a layer, from the input up."""
    names = ("sky", "blue", "green", "orange", "vermilion", "purple")
    return COLOURS[names[layer % len(names)]]


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """A figure of `width` by `height` inches that belongs to no window and to no pyplot state."""
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def headline(figure: Figure, title: str) -> None:
    """The title above a figure, in as many lines as it needs; "" is none."""
    if title:
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
