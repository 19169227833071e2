"""How often a gate is all but shut or open: Karpathy, Johnson & Fei-Fei 2015 (section 4.2, figure 3).

A gate counts as left-saturated at a step when it is below 0.1 and as right-saturated when above 0.9. A unit
whose forget gate is right-saturated most of the time keeps its memory over long stretches; one whose gates
are seldom saturated works in the linear range.
"""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from lstm_jax.analysis.style import COLOURS, WIDTH, headline, layer_colour, new_figure, tidy
from lstm_jax.cells.trace import in_order, of_units
from lstm_jax.support.notation import Array

__all__ = ["HIGH", "LOW", "figure", "fractions", "saturation_sums", "sigmoid_gates"]

LOW, HIGH = 0.1, 0.9
"""Below and above these a gate counts as saturated."""
_MARKERS = "o^sDvP"


def sigmoid_gates(trace: Mapping[str, Array]) -> list[str]:
    """The names in a layer's trace, name -> [T, B, H], whose values all lie in [0, 1]: its gates.

    Candidates and states do not, as soon as the trace covers some steps of a few units; g and c never count,
    for minLSTM's are positive.
    """
    return [
        name
        for name, value in of_units(trace).items()
        if name not in ("g", "c") and float(jnp.min(value)) >= 0.0 and 0.0 < float(jnp.max(value)) <= 1.0
    ]


def saturation_sums(gate: Array, real: Array) -> dict[str, Array]:
    """Sums over one window, which add up over windows.

    Args:
      gate: [T, B, H].
      real: [T, B] bool, False where a step is no part of its sequence.

    Returns:
      {"low" [H], steps with the gate below 0.1; "high" [H], above 0.9; "count", the steps}, float32.
    """
    kept = real[..., None]
    return {
        "low": jnp.sum((gate < LOW) & kept, (0, 1), dtype=jnp.float32),
        "high": jnp.sum((gate > HIGH) & kept, (0, 1), dtype=jnp.float32),
        "count": jnp.sum(real, dtype=jnp.float32),
    }


def fractions(sums: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(low [H], high [H]): the share of steps at which each unit's gate is saturated, from the sums."""
    return np.asarray(sums["low"]) / sums["count"], np.asarray(sums["high"]) / sums["count"]


def figure(layers: Sequence[Mapping[str, tuple[np.ndarray, np.ndarray]]], *, title: str = "") -> Figure:
    """Each unit as a point: share of steps left-saturated against right-saturated, one panel a gate.

    Args:
      layers: one mapping a layer, from the input up: gate -> what `fractions` gives. Layers may differ in
        their gates.
      title: above the figure.
    """
    names = list(in_order({name: None for layer in layers for name in layer}))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    side = WIDTH / max(columns, 2)
    drawing = new_figure(0.5 + (side + 0.15) * rows, side * columns)
    headline(drawing, title)
    panels = drawing.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for index, axes in enumerate(panels.flat):
        if index >= len(names):
            axes.set_visible(False)
            continue
        name = names[index]
        axes.plot([0, 1], [1, 0], color=COLOURS["grey"], linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
        for number, layer in enumerate(layers):
            if name in layer:
                low, high = layer[name]
                axes.scatter(
                    low, high, s=9, alpha=0.6, linewidth=0.4, edgecolor="white", clip_on=False, zorder=3,
                    marker=_MARKERS[number % len(_MARKERS)], color=_colour(number, len(layers)),
                    label=f"layer {number + 1}",
                )  # fmt: skip
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_aspect("equal")
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_title(f"gate {name}", fontsize=9)
        tidy(axes)
        if index + columns >= len(names):
            axes.set_xlabel(f"share of steps below {LOW}", fontsize=8)
        if index % columns == 0:
            axes.set_ylabel(f"share of steps above {HIGH}", fontsize=8)
    panels.flat[0].legend(fontsize=8, frameon=False, loc="upper right", markerscale=1.5)
    return drawing


def _colour(layer: int, layers: int) -> str:
    return layer_colour(layer) if layers > 2 else (COLOURS["blue"], COLOURS["orange"])[layer]
