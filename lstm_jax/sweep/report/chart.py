"""What the charts of a page share: their parts, the look of their axes, colours, names, chance.

A chart is plain data for plotly.js. Colours that follow the page's light or dark are written as tokens
("@text", "@muted", "@grid", "@faded", "@veil"), which page.js replaces by those of page.css. Names are
escaped, for plotly reads <b> and the like in its texts.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from lstm_jax.analysis.variants import Look
from lstm_jax.sweep.comparison import Comparison, name_of, shown_variants

__all__ = [
    "SYMBOLS",
    "Chart",
    "Figure",
    "Section",
    "draw_chance",
    "drawn",
    "layout_of",
    "length_axis",
    "line_of",
    "metric_name",
    "metric_unit",
    "plain",
    "rounded",
    "tint",
    "values_axis",
]

Figure = dict[str, Any]
SYMBOLS = {
    "o": "circle", "s": "square", "D": "diamond", "^": "triangle-up", "v": "triangle-down", "P": "cross",
    "X": "x", "*": "star", "h": "hexagon", "p": "pentagon", "<": "triangle-left", ">": "triangle-right",
}  # fmt: skip
"""plotly's names of the markers of lstm_jax.analysis."""


class Chart(NamedTuple):
    """One chart.

    Attributes:
      id: in the page.
      title: above it; "" where the section's says it.
      says: what is seen, for who does not see it.
      figure: {"data", "layout"} of plotly.js.
      height: CSS pixels.
      least: CSS pixels of width below which it is scrolled and not squeezed.
    """

    id: str
    title: str
    says: str
    figure: Figure
    height: int = 380
    least: int = 0


class Section(NamedTuple):
    """Charts under one heading.

    Attributes:
      id: in the page.
      title: the heading.
      caption: how to read them.
      charts: one or more.
      pictures: of the figures for print beside it: figures/NAME.png, or what begins with NAME.
    """

    id: str
    title: str
    caption: str
    charts: list[Chart]
    pictures: tuple[str, ...]


def plain(text: Any, longest: int = 0) -> str:
    """Text as plotly shows it: no part of it is markup; cut to `longest` characters where that is given."""
    text = str(text)
    text = text if not longest or len(text) <= longest else text[: longest - 1] + "…"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def rounded(values: Iterable[float]) -> list[float | None]:
    """Six digits, and None for what is not finite: short, and JSON."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def layout_of(x: str, y: str, **more: Any) -> Figure:
    """Plotly's layout with the titles of the axes; `more` replaces parts of it."""
    axis = {
        "gridcolor": "@grid", "zeroline": False, "linecolor": "@muted", "ticks": "outside",
        "tickcolor": "@muted", "automargin": True,
    }  # fmt: skip
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "@text", "size": 13, "family": "system-ui, sans-serif"},
        "margin": {"l": 56, "r": 16, "t": 12, "b": 48},
        "hovermode": "closest",
        "hoverlabel": {"align": "left"},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "@muted", "activecolor": "@text"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": axis | {"title": {"text": plain(x)}},
        "yaxis": axis | {"title": {"text": plain(y)}},
    } | more


def metric_name(c: Comparison) -> str:
    """The metric as a person reads it."""
    return f"test {name_of(c.metric)}"


def metric_unit(c: Comparison) -> str:
    """The metric with its unit, where it has one."""
    units = {"nats": " (nats)", "perplexity": "", "accuracy": " (share right)", "recall": " (share right)"}
    return metric_name(c) + units.get(c.metric, "")


def values_axis(c: Comparison, axis: Figure, values: Iterable[float]) -> None:
    """Perplexity on a logarithmic axis; shares over their whole range where they span most of it."""
    finite = [value for value in values if math.isfinite(value)]
    if c.metric == "perplexity":
        axis.update(type="log", dtick="D2" if max(finite, default=1) / min(finite, default=1) > 3 else None)
    elif finite and min(finite) >= 0 and 0.5 < max(finite) <= 1:
        axis.update(range=[-0.03, 1.05])


def draw_chance(layout: Figure, level: float | None) -> None:
    """A dashed line at the chance level, named at its right end; None draws none."""
    if level is None:
        return
    layout.setdefault("shapes", []).append(
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": level, "y1": level, "layer": "below",
         "line": {"color": "@muted", "width": 1.2, "dash": "dash"}}
    )  # fmt: skip
    logarithmic = layout["yaxis"].get("type") == "log"
    layout.setdefault("annotations", []).append(
        {"xref": "paper", "x": 1, "y": math.log10(level) if logarithmic else level, "xanchor": "right",
         "yanchor": "bottom", "text": f"chance {level:.3g}", "showarrow": False,
         "font": {"color": "@muted", "size": 12}}
    )  # fmt: skip


def length_axis(axis: Figure, lengths: Sequence[float]) -> None:
    """The axis of lengths: logarithmic where they span a factor of 4, with a tick at each."""
    axis.update(tickvals=list(lengths), ticktext=[f"{length:g}" for length in lengths])
    if min(lengths) > 0 and max(lengths) / min(lengths) >= 4:
        axis["type"] = "log"


def line_of(look: Look) -> Figure:
    """The line of a variant."""
    dashes = {"-": "solid", (0, (5, 2)): "dash", (0, (1, 1)): "dot"}
    return {"color": look.colour, "width": 2, "dash": dashes[look.dashes]}


def tint(colour: str, opacity: float) -> str:
    """A colour that lets others through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def drawn(c: Comparison, most: int) -> tuple[list[dict[str, Any]], list[str], str]:
    """(runs, their variants, a sentence on what is left out): no more variants than there is room for."""
    variants = shown_variants(c, most)
    every = len({run["variant"] for run in c.runs})
    left = f" Of {every} variants the {len(variants)} best by their mean." if every > len(variants) else ""
    return [run for run in c.runs if run["variant"] in variants], variants, left
