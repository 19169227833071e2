"""The gates of a run over one sentence, or over one sequence of its task."""

from typing import Any

import jax
import numpy as np

from lstm_jax.analysis import gates
from lstm_jax.analysis.instruments.base import Instrument, Measurement, Options, Progress, title_of
from lstm_jax.analysis.instruments.sequence import one_sequence
from lstm_jax.analysis.instruments.timescales import of_layers
from lstm_jax.analysis.instruments.windows import kind_of, unit_of, without_gate
from lstm_jax.cells.trace import of_units
from lstm_jax.predict import Run

__all__ = ["GATES"]


def _measure(run: Run, options: Options, progress: Progress) -> Measurement:
    sequence = one_sequence(run, options)
    carry = run.model.carry(run.params, 1)
    traces = jax.jit(lambda p, x, c: run.model.apply(p, x, c).traces)(run.params, sequence.inputs, carry)
    scales: list[np.ndarray | None] = [None] * len(traces)
    if without_gate(run, "f") is None:
        scales = [found.product for found in of_layers(run, run.params, options, progress)[0]]
    unit = unit_of(run)
    figures, layers = {}, []
    for index, (trace, scale) in enumerate(zip(traces, scales, strict=True)):
        flat = {name: np.asarray(value)[:, 0] for name, value in of_units(trace).items()}
        order = None if scale is None else np.argsort(scale, kind="stable")
        title = f"{title_of(run)}, layer {index + 1}"
        if flat:
            figures[f"layer{index + 1}"] = gates.figure(
                flat, sequence.labels, order=order, scale=scale, unit=unit, title=title
            )
        row: dict[str, Any] = {name: {"mean_by_step": value.mean(1)} for name, value in flat.items()}
        layers.append(row | {"time_scale": scale, "order": order})
    values = {"inputs": sequence.labels, "unit": unit, "layers": layers}
    lines = [*sequence.told, f"{len(sequence.labels)} {unit}: {' '.join(filter(None, sequence.labels))}"]
    return Measurement(figures, values, lines)


def _unsupported(run: Run) -> str | None:
    if any(map(of_units, run.traced)):
        return None
    return f"the {kind_of(run)} has no gates at all"


GATES = Instrument(_measure, "every gate of every unit while a sentence is read, as heat maps", _unsupported)
