"""What the figures share: colours that the colour-blind tell apart, axes without frills, widths of a page."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

__all__ = ["COLOURS", "WIDTH", "layer_colour", "new_figure", "plain_numbers", "tidy"]

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


def tidy(axes: Axes) -> None:
    """A faint grid behind the data, no frame at top and right."""
    axes.grid(which="major", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def plain_numbers(*axis_objects: object) -> None:
    """Ticks of a logarithmic axis as 1, 10, 100 and not as powers."""
    for axis in axis_objects:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))  # type: ignore[attr-defined]
        axis.set_minor_formatter(NullFormatter())  # type: ignore[attr-defined]
