"""Instruments that analyze a run, whatever its task and cell: their table, and what runs and stores them.

To add one, write a module of `lstm_jax.analysis` (arrays in, arrays and a figure out), a module here that
feeds it from a `Run` and returns a `Measurement` (see timescales.py), and one line in INSTRUMENTS.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstm_jax.analysis.files import PNG, Print, save_figures
from lstm_jax.analysis.instruments.ablation import ABLATION
from lstm_jax.analysis.instruments.answers import CALIBRATION, CONFUSION
from lstm_jax.analysis.instruments.attention import ATTENTION
from lstm_jax.analysis.instruments.base import Instrument, Measurement, Options, Progress
from lstm_jax.analysis.instruments.context import CONTEXT
from lstm_jax.analysis.instruments.frequency import FREQUENCY
from lstm_jax.analysis.instruments.gates import GATES
from lstm_jax.analysis.instruments.lags import LAGS
from lstm_jax.analysis.instruments.perturbation import PERTURBATION
from lstm_jax.analysis.instruments.recall import RECALL
from lstm_jax.analysis.instruments.saturation import SATURATION
from lstm_jax.analysis.instruments.timescales import TIMESCALES
from lstm_jax.predict import Run
from lstm_jax.runs.directory import write_json
from lstm_jax.support.errors import UserError
from lstm_jax.support.registry import check_name

__all__ = [
    "INSTRUMENTS",
    "Instrument",
    "Measurement",
    "Options",
    "Progress",
    "Written",
    "chosen",
    "directory_for",
    "measure",
    "measure_and_write",
    "plain",
    "write",
]

INSTRUMENTS: dict[str, Instrument] = {
    "gates": GATES,
    "timescales": TIMESCALES,
    "saturation": SATURATION,
    "lags": LAGS,
    "context": CONTEXT,
    "perturbation": PERTURBATION,
    "frequency": FREQUENCY,
    "ablation": ABLATION,
    "recall": RECALL,
    "attention": ATTENTION,
    "confusion": CONFUSION,
    "calibration": CALIBRATION,
}
"""The instruments by name, in the order of `all`."""


class Written(NamedTuple):
    """The files that an instrument wrote, and its lines for the terminal."""

    name: str
    files: tuple[Path, ...]
    lines: tuple[str, ...]


def chosen(run: Run, what: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Returns the names of the instruments to run, and those left out with the reason.

    Args:
      run: to analyze.
      what: names of INSTRUMENTS; "all" among them: those that fit the run.

    Raises:
      UserError: an unknown name, none at all, or an instrument asked for by name that does not fit.
    """
    names = list(dict.fromkeys(name.strip() for name in what if name.strip()))
    if not names:
        raise UserError(f"which instruments? allowed: all, {', '.join(INSTRUMENTS)}")
    for name in names:
        check_name(name, ("all", *INSTRUMENTS), "instrument")
    taken, left = [], {}
    for name in INSTRUMENTS:
        if name not in names and "all" not in names:
            continue
        reason = INSTRUMENTS[name].unsupported(run)
        if reason is None:
            taken.append(name)
        elif name in names:
            raise UserError(f"the instrument {name!r} does not fit the run {run.paths.root}: {reason}")
        else:
            left[name] = reason
    return taken, left


def measure(run: Run, name: str, **options: Any) -> Measurement:
    """Returns the figures and numbers of the instrument `name`, and writes nothing.

    Args:
      run: to analyze.
      name: of INSTRUMENTS.
      options: fields of `Options`.

    Raises:
      UserError: as `chosen`, an unknown option, or options that do not fit the run.
    """
    for option in options:
        check_name(option, Options.__dataclass_fields__, "option")
    chosen(run, [name])
    return INSTRUMENTS[name].measure(run, Options(**options), lambda *_: None)


def measure_and_write(
    run: Run,
    name: str,
    options: Options | None = None,
    progress: Progress = lambda *_: None,
    out: str | os.PathLike[str] = "",
) -> Written:
    """Writes the figures and numbers of the instrument `name`.

    Args:
      run: to analyze.
      name: of INSTRUMENTS.
      options: None: the defaults.
      progress: called with (work done, in all).
      out: see `directory_for`.

    Raises:
      UserError: as `chosen`, or options that do not fit the run, or a file that cannot be written.
    """
    chosen(run, [name])
    options = options or Options()
    directory = directory_for(run, out)
    return write(run, name, options, INSTRUMENTS[name].measure(run, options, progress), directory)


def directory_for(run: Run, out: str | os.PathLike[str] = "") -> Path:
    """The directory of figures and numbers, made where missing: `out`, or `<run>/analysis` where that is "".

    Raises:
      UserError: it cannot be made.
    """
    directory = Path(out).expanduser() if out else run.paths.analysis
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {directory}: {error.strerror}; give another with --out=DIR") from error
    return directory


def write(
    run: Run, name: str, options: Options, measurement: Measurement, directory: Path, how: Print = PNG
) -> Written:
    """Writes `<name>.png` (or `<name>-<part>.png`) with its data as CSV, and `<name>.json`, by renames.

    It holds what was found, the training step of the parameters, and the options.

    Raises:
      UserError: a file cannot be written.
    """
    named = {f"{name}{'-' if part else ''}{part}": figure for part, figure in measurement.figures.items()}
    files = save_figures(named, directory, how)
    found = {"instrument": name, "step": run.step, "options": vars(options), **measurement.values}
    files.append(directory / f"{name}.json")
    write_json(files[-1], plain(found))
    return Written(name, tuple(files), tuple(measurement.lines))


def plain(value: Any) -> Any:
    """`value` in JSON's own types: arrays as lists, numbers to six figures, what is not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy and jax arrays and scalars
        return plain(np.asarray(value).tolist())
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON; give numbers, text or lists")
