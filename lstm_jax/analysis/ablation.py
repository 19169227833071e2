"""What single units are good for: the increase of the loss when one of them is held at a value.

As in Lakretz et al. 2019 ("The emergence of number and syntax units in LSTM language models"), one unit at a
time; held at its mean, so that what it brings is its variation, or at zero.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from lstm_jax.analysis.losses import Progress, mean_and_error
from lstm_jax.analysis.style import COLOURS, headline, layer_colour, log_ticks, new_figure, tidy
from lstm_jax.cells.base import Carry, Cell, Trace
from lstm_jax.models import Model
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params, Tree
from lstm_jax.support.registry import check_name
from lstm_jax.tasks.base import Batch

__all__ = ["VALUES", "Ablation", "ablate", "figure", "hold", "widths"]

VALUES = ("mean", "zero")
"""What a unit is held at: its mean over the sample, or 0."""


class Ablation(NamedTuple):
    """The effect of U units, each held alone.

    Attributes:
      layer, unit: [U] which, from 0 on.
      effect: [U] increase of the mean loss.
      error: [U] standard error of that mean, over the scored steps.
      intact: mean loss with every unit free.
      steps: scored steps.
    """

    layer: np.ndarray
    unit: np.ndarray
    effect: np.ndarray
    error: np.ndarray
    intact: float
    steps: int


def hold(cell: Cell, field: str, mask: Array, value: Array) -> Cell:
    """The cell with some units of its carry held at a value after every step.

    A held "h" is what everything sees of the unit: its own layer one step later, and the layer above or the
    head now. A held "c" is a unit without a memory: what it writes at a step still leaves through its output
    gate at that step, and is gone at the next.

    Args:
      cell: whose carry has the field, [B, H].
      field: of the carry.
      mask: [H] bool, True where held; may be traced.
      value: [H]; may be traced.

    Raises:
      UserError: when run, an "h" that is not the cell's output: held, it would still be seen above; or any
        field but "h" of a cell whose memory, the "c" of its trace, is not the "c" of its carry (sLSTM: c / n,
        both scaled by m): the same value of one field is another memory at every step.
    """

    def update(params: Params, carry: Carry, z: Tree, r: Tree) -> tuple[Carry, Array, Trace]:
        new, y, trace = cell.update(params, carry, z, r)
        before = getattr(new, field)
        if field == "h" and y is not before:
            others = [name for name in new._fields if name != "h" and getattr(new, name).ndim == 2]
            raise UserError(
                f"the output of the cell {cell.name!r} is not its h, which would still be seen above when "
                f"it is held: allowed: {', '.join(others) or 'nothing'}"
            )
        if field != "h" and "c" in trace and trace["c"] is not getattr(new, "c", None):
            raise UserError(
                f"the memory of the cell {cell.name!r} is made of several fields of its carry, of which "
                f"{field!r} alone means nothing: allowed: h"
            )
        held = jnp.where(mask, value.astype(before.dtype), before)
        trace = {**trace, field: held} if field in trace else trace
        return new._replace(**{field: held}), held if y is before else y, trace

    # Not affine any more: a held memory depends on no decay.
    return cell._replace(update=update, affine=None, wrappers=(*cell.wrappers, "hold"))


def widths(model: Model, params: Params, inputs: Any, field: str) -> tuple[int, ...]:
    """H of each layer's carry in `field`, which can be held. Nothing is computed.

    Args:
      model, params: shapes are enough of the parameters.
      inputs: [T, B] or [T, B, D], or their shapes.
      field: of the carry.

    Raises:
      UserError: a layer without that field, or where it is no [B, H], or cannot be held.
    """
    rows = inputs.shape[1]
    found = []
    for index, carry in enumerate(jax.eval_shape(lambda p: model.carry(p, rows), params)):
        fields = getattr(carry, "_fields", ())
        if field not in fields or getattr(carry, field).ndim != 2:
            allowed = [name for name in fields if getattr(carry, name).ndim == 2]
            raise UserError(
                f"layer {index + 1} carries no [B, H] array {field!r} that could be held: "
                f"allowed: {', '.join(allowed) or 'none'}"
            )
        found.append(getattr(carry, field).shape[1])
    if not found:
        raise UserError("the model carries no state from step to step that could be held")

    def around(index: int, cell: Cell) -> Cell:
        return hold(cell, field, jnp.zeros(found[index], bool), jnp.zeros(found[index]))

    jax.eval_shape(lambda p, x: model.apply(p, x, model.carry(p, rows), around=around).carry, params, inputs)
    return tuple(found)


def ablate(
    model: Model,
    params: Params,
    loss: Any,
    batch: Batch,
    *,
    field: str = "h",
    to: str = "mean",
    units: int | None = None,
    seed: int = 0,
    together: int = 8,
    progress: Progress = lambda *_: None,
) -> Ablation:
    """Holds one unit after the other and measures the loss on one batch, from the initial carry on.

    Cost and memory: a pass over the batch a unit, `together` of them through the recurrence at once; the
    logits [T, B, O] of one unit exist at a time.

    Args:
      model, params: dropout is off.
      loss: (logits [T, B, O], batch) -> [T, B], as `Task.loss`, each step by its own.
      batch: one window of T steps of B sequences; `weights` says what is scored.
      field: of the carry: "h", or "c".
      to: of VALUES.
      units: how many of each layer, drawn by the seed; None: all.
      seed: of the draw.
      together: units that go through the recurrence side by side.
      progress: called with (units done, in all).

    Returns:
      The effects, layer by layer in the order of the units.

    Raises:
      UserError: an unknown value, a field that a layer does not have, or a batch without a scored step.
    """
    check_name(to, VALUES, "value")
    sizes = widths(model, params, batch.inputs, field)
    steps, rows = batch.inputs.shape[:2]
    scored = np.ones((steps, rows), bool) if batch.weights is None else np.asarray(batch.weights) > 0
    real = np.ones((steps, rows), bool)
    if batch.lengths is not None:
        real = np.arange(steps)[:, None] < np.asarray(batch.lengths)
    if not scored.any() or together < 1 or (units is not None and units < 1):
        raise UserError("there must be a scored step in the batch, and units and together be 1 or more")

    def hidden(params: Params, batch: Batch, around: Any) -> Any:
        carry = model.carry(params, rows)
        return model.apply(
            params, batch.inputs, carry, lengths=batch.lengths, resets=batch.resets, around=around
        )

    def record(index: int, cell: Cell) -> Cell:
        def update(*args: Any) -> tuple[Carry, Array, Trace]:
            new, y, _ = cell.update(*args)
            return new, y, {"held": getattr(new, field)}

        return cell._replace(update=update, affine=None)

    @jax.jit
    def values(params: Params, batch: Batch) -> tuple[Array, ...]:
        traces = hidden(params, batch, record).traces
        kept = jnp.asarray(real)[..., None]
        return tuple(
            jnp.where(kept, trace["held"].astype(jnp.float32), 0).sum((0, 1)) / real.sum() for trace in traces
        )

    @jax.jit
    def measure(params: Params, batch: Batch, masks: tuple, held: tuple) -> Array:
        """[K, T, B] losses with the units of each row of masks [K, H] held."""

        def states(masks: tuple) -> Array:
            around = lambda index, cell: hold(cell, field, masks[index], held[index])  # noqa: E731
            return hidden(params, batch, around).hidden

        of_each = jax.vmap(states)(masks)
        return jax.lax.map(lambda one: loss(model.head(params, one), batch), of_each)

    held = tuple(jnp.zeros(size) for size in sizes) if to == "zero" else values(params, batch)
    chosen = _choose(sizes, units, seed)
    layer, unit = chosen.T
    none = tuple(np.zeros((together, size), bool) for size in sizes)
    intact = np.asarray(measure(params, batch, none, held)[0], np.float64)[scored]
    effect, error = np.zeros(len(layer)), np.zeros(len(layer))
    for begin in range(0, len(layer), together):
        part = slice(begin, min(begin + together, len(layer)))
        masks = tuple(mask.copy() for mask in none)
        for row, (index, number) in enumerate(chosen[part]):
            masks[index][row, number] = True
        found = np.asarray(measure(params, batch, masks, held), np.float64)[: part.stop - begin]
        effect[part], error[part] = mean_and_error(found[:, scored] - intact)
        progress(part.stop, len(layer))
    return Ablation(layer, unit, effect, error, float(intact.mean()), int(scored.sum()))


def _choose(sizes: Sequence[int], units: int | None, seed: int) -> np.ndarray:
    """[U, 2] layer and unit."""
    draw = np.random.default_rng(seed)
    pick = functools.partial(draw.choice, replace=False)
    of_layers = [
        np.arange(size) if units is None else np.sort(pick(size, min(units, size))) for size in sizes
    ]
    return np.array([(layer, unit) for layer, row in enumerate(of_layers) for unit in row])


def figure(
    found: Ablation, *, field: str = "h", to: str = "mean", unit: str = "nats a token", title: str = "",
    largest: int = 12,
) -> Figure:  # fmt: skip
    """The effects of each layer's units in falling order, and the largest by name.

    Args:
      found: of `ablate`; bars are two standard errors.
      field, to: as it was measured.
      unit: of the loss.
      title: above the figure.
      largest: units that are named; their numbers begin at 0, as in the arrays.
    """
    drawing = new_figure(3.6)
    headline(drawing, title)
    left, right = drawing.subplots(1, 2, width_ratios=[1.35, 1])
    for layer in np.unique(found.layer):
        mine = found.layer == layer
        order = np.argsort(-found.effect[mine])
        effect, error = found.effect[mine][order], 2 * found.error[mine][order]
        x = np.arange(1, len(effect) + 1)
        colour = layer_colour(int(layer) + 1)
        left.fill_between(x, effect - error, effect + error, color=colour, alpha=0.25, linewidth=0)
        left.plot(
            x, effect, color=colour, linewidth=1.5, marker="o", markersize=2, label=f"layer {layer + 1}"
        )
    left.axhline(
        0, color=COLOURS["grey"], linewidth=0.9, linestyle=(0, (4, 3)), zorder=1,
        label=f"every unit free: {found.intact:.3f}",
    )  # fmt: skip
    left.set_xscale("log")
    log_ticks(left.xaxis, 1, max(2, int(np.bincount(found.layer).max())))
    left.set_xlabel("rank of the unit in its layer", fontsize=9)
    left.set_ylabel(f"increase of the loss ({unit})\none unit's {field} held at {_SAID[to]}", fontsize=9)
    left.legend(fontsize=8, frameon=True, framealpha=0.9, edgecolor="none", loc="upper right")

    top = np.argsort(-found.effect)[:largest][::-1]
    y = np.arange(len(top))
    colours = [layer_colour(int(layer) + 1) for layer in found.layer[top]]
    right.barh(y, found.effect[top], xerr=2 * found.error[top], color=colours, height=0.7,
               error_kw=dict(linewidth=0.8, ecolor=COLOURS["grey"]))  # fmt: skip
    right.set_yticks(y, [f"layer {found.layer[at] + 1}, unit {found.unit[at]}" for at in top])
    right.set_xlabel(f"increase ({unit})", fontsize=9)
    right.set_title("largest", fontsize=9)
    for axes in (left, right):
        tidy(axes)
    right.grid(visible=False, axis="y")
    right.tick_params(axis="y", labelsize=7)
    return drawing


_SAID = {"mean": "its mean", "zero": "zero"}
