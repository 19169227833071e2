"""What the gates do while a sentence is read: heat maps, units down, tokens along."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lstm_jax.analysis.style import headline, new_figure, shown_token
from lstm_jax.cells.trace import in_order

__all__ = [
    "MOST_TOKENS",
    "TITLES",
    "colours_and_range",
    "drawn_units",
    "figure",
    "ordinal",
]

MOST_TOKENS = 80
"""Tokens that fit along the axis of a page."""
MOST_UNITS = 64
"""Units that can still be distinguished; of more, every n-th is drawn."""
TITLES = {
    "i": "input gate i",
    "f": "forget gate f",
    "g": "candidate g",
    "o": "output gate o",
    "c": "cell state c",
}
"""What the LSTM's names in a trace are called; other names stand for themselves."""


def colours_and_range(name: str, values: np.ndarray) -> tuple[str, float, float]:
    """(matplotlib's colour map, low, high) for a gate's values, of any shape.

    Gates go from 0 to 1, all else is symmetric about 0, whose colour is white.
    """
    if values.min() >= 0.0 and values.max() <= 1.0 and name not in ("g", "c"):
        return "viridis", 0.0, 1.0
    # The few largest of a cell state would leave all the others pale.
    most = 1.0 if name == "g" else max(float(np.quantile(np.abs(values), 0.99)), 1e-6)
    return "coolwarm", -most, most


def drawn_units(units: int, order: Any = None) -> np.ndarray:
    """The units that a heat map of `units` rows shows, from the bottom up: MOST_UNITS of them at most.

    Args:
      units: H.
      order: [H] units from the bottom up; the last one is always among those shown. None, or an order of
        another number of units: as they are numbered.
    """
    rows = np.arange(units) if order is None or len(order) != units else np.asarray(order)
    stride = -(-units // MOST_UNITS)
    return rows[::-1][::stride][::-1]  # the last one, of the longest memory, is always among them


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th and so on."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 * (number // 10 % 10 != 1), "th")
    return f"{number}{ending}"


def figure(
    trace: Mapping[str, Any],
    tokens: Sequence[str],
    *,
    order: Any = None,
    scale: Any = None,
    unit: str = "tokens",
    title: str = "",
) -> Figure:
    """One layer's gates over one sequence, a heat map each.

    Args:
      trace: name -> [T, H], each gate at each step.
      tokens: [T] what is written along the axis: the input of each step.
      order: [H] units from the bottom up; None: as they are numbered.
      scale: [H] time scale of each unit, written beside the units where `order` sorts by it.
      unit: of `scale`.
      title: above the figure.
    """
    trace = in_order({name: np.asarray(values, np.float32) for name, values in trace.items()})
    steps = len(tokens)
    stride = 1
    drawing = new_figure(0.9 + 1.35 * len(trace))
    headline(drawing, title)
    panels = drawing.subplots(len(trace), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, trace.items(), strict=True):
        units = values.shape[1]
        stride = -(-units // MOST_UNITS)
        rows = drawn_units(units, order)
        colours, low, high = colours_and_range(name, values[:, rows])
        image = axes.imshow(
            values[:, rows].T, aspect="auto", origin="lower", interpolation="nearest",
            cmap=colours, vmin=low, vmax=high, extent=(-0.5, steps - 0.5, 0, len(rows)),
        )  # fmt: skip
        bar = drawing.colorbar(image, ax=axes, pad=0.01, fraction=0.03, aspect=14)
        bar.ax.tick_params(labelsize=7)
        bar.set_ticks(
            [low, (low + high) / 2, high], labels=[f"{t:.2g}" for t in (low, (low + high) / 2, high)]
        )
        axes.set_title(TITLES.get(name, name), fontsize=9, loc="left", pad=3)
        axes.tick_params(labelsize=7, length=2)
        if scale is not None and order is not None and units == len(scale):
            at = np.unique(np.round(np.array([0, 0.25, 0.5, 0.75, 0.9, 1]) * (len(rows) - 1)).astype(int))
            sorted_scale = np.asarray(scale)[rows]
            axes.set_yticks(at + 0.5, [f"{sorted_scale[place]:.2g}" for place in at])
        else:
            axes.set_yticks([0.5, len(rows) - 0.5], [f"{rows[0] + 1}", f"{rows[-1] + 1}"])
    which = "unit" if stride == 1 else f"every {ordinal(stride)} unit"
    drawing.supylabel(which if scale is None else f"{which}, by its time scale ({unit})", fontsize=9)
    small = 7 if steps <= 45 else 5
    panels[-1].set_xticks(range(steps), [shown_token(token) for token in tokens], rotation=90, fontsize=small)
    panels[-1].set_xlabel("input, in the order it is read", fontsize=9)
    return drawing
