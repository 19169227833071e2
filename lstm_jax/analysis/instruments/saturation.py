"""How saturated the gates of a run's units are, by layer."""

from typing import Any

import numpy as np

from lstm_jax.analysis import saturation
from lstm_jax.analysis.instruments.base import Instrument, Measurement, Options, Progress, title_of
from lstm_jax.analysis.instruments.windows import add_up, kind_of, unit_of
from lstm_jax.models import Outputs
from lstm_jax.predict import Run
from lstm_jax.support.notation import Array
from lstm_jax.tasks.base import Batch

__all__ = ["SATURATION"]


def _gates_of(run: Run) -> list[list[str]]:
    return [saturation.sigmoid_gates(trace) for trace in run.traced]


def _measure(run: Run, options: Options, progress: Progress) -> Measurement:
    names = _gates_of(run)

    def measure(outputs: Outputs, batch: Batch, real: Array) -> list:
        return [
            {name: saturation.saturation_sums(trace[name], real) for name in layer}
            for layer, trace in zip(names, outputs.traces, strict=True)
        ]

    total = add_up(run, run.params, options.split, options.tokens, measure, progress)
    layers = [{name: saturation.fractions(sums) for name, sums in layer.items()} for layer in total.sums]
    unit = unit_of(run)
    values: dict[str, Any] = {
        "unit": unit,
        "split": options.split,
        "steps_read": total.steps,
        "low": saturation.LOW,
        "high": saturation.HIGH,
        "layers": [
            {
                name: {"mean_low": low.mean(), "mean_high": high.mean(), "low": low, "high": high}
                for name, (low, high) in layer.items()
            }
            for layer in layers
        ],
    }
    lines = [
        f"layer {index + 1}: " + "; ".join(
            f"{name} below {saturation.LOW} at {np.mean(low):.1%} of steps, "
            f"above {saturation.HIGH} at {np.mean(high):.1%}"
            for name, (low, high) in layer.items()
        )
        for index, layer in enumerate(layers)
    ]  # fmt: skip
    title = f"{title_of(run)}: saturation of gates over {total.steps:,} {unit} ({options.split})"
    return Measurement({"": saturation.figure(layers, title=title)}, values, lines)


def _unsupported(run: Run) -> str | None:
    if any(_gates_of(run)):
        return None
    traced = sorted({name for layer in run.traced for name in layer})
    has = (
        f"of what it has ({', '.join(traced)}) nothing stays"
        if traced
        else "it has no gates at all, hence none"
    )
    return f"the {kind_of(run)}: {has} between 0 and 1"


SATURATION = Instrument(_measure, "share of steps at which each gate is all but shut or open", _unsupported)
