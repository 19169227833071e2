"""Time scales of a run's units at initialisation and after training."""

from typing import Any

import numpy as np

from lstm_jax.analysis import timescales
from lstm_jax.analysis.instruments.base import Instrument, Measurement, Options, Progress, title_of
from lstm_jax.analysis.instruments.windows import add_up, unit_of, without_gate
from lstm_jax.models import Outputs
from lstm_jax.predict import Run
from lstm_jax.support.notation import Array, Params
from lstm_jax.tasks.base import Batch

__all__ = ["TIMESCALES", "of_layers"]

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)


def of_layers(
    run: Run, params: Params, options: Options, progress: Progress
) -> tuple[list[timescales.TimeScales], int]:
    """The time scales of each layer over a split, and the steps that were read."""

    def measure(outputs: Outputs, batch: Batch, real: Array) -> list:
        return [timescales.forget_sums(trace["f"], real) for trace in outputs.traces]

    total = add_up(run, params, options.split, options.tokens, measure, progress)
    return [timescales.time_scales(sums) for sums in total.sums], total.steps


def _describe(scale: np.ndarray) -> dict[str, Any]:
    # Of the units themselves, not between them: an infinite one would make every value beside it a NaN.
    shares = np.quantile(scale, SHARES, method="inverted_cdf")
    return {f"quantile_{share}": value for share, value in zip(SHARES, shares, strict=True)}


def _measure(run: Run, options: Options, progress: Progress) -> Measurement:
    def first(done: int, total: int) -> None:
        progress(done, 2 * total)

    def second(done: int, total: int) -> None:
        progress(total + done, 2 * total)

    initial, _ = of_layers(run, run.initial_params, options, first)
    trained, steps = of_layers(run, run.params, options, second)
    layers = [
        {"at initialisation": before, "trained": after}
        for before, after in zip(initial, trained, strict=True)
    ]
    unit = unit_of(run)
    title = f"{title_of(run)}: forget-gate time scales over {steps:,} {unit} ({options.split})"
    values: dict[str, Any] = {"unit": unit, "split": options.split, "steps_read": steps, "layers": []}
    lines = []
    for index, layer in enumerate(layers):
        row: dict[str, Any] = {}
        for name, scales in layer.items():
            row[name] = {
                "product": _describe(scales.product) | {"units": scales.product},
                "mean": _describe(scales.mean) | {"units": scales.mean},
            }
        values["layers"].append(row)
        before, after = (np.median(scales.product) for scales in layer.values())
        longest = np.sort(layer["trained"].product)[::-1][:3]
        lines.append(
            f"layer {index + 1}: median time scale {before:.3g} {unit} at initialisation, "
            f"{after:.3g} trained; longest {', '.join(f'{value:.3g}' for value in longest)}"
        )
    return Measurement({"": timescales.figure(layers, unit=unit, title=title)}, values, lines)


TIMESCALES = Instrument(
    _measure,
    "time scale of each unit from its forget gate, at initialisation and after training",
    lambda run: without_gate(run, "f"),
)
