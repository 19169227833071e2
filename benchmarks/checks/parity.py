"""Whether what runs on the device is right: every backend against the loop, and a resume bit for bit."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from checks import Row, Settings
from lstm_jax.cells import make_cell
from lstm_jax.support.errors import UserError
from lstm_jax.unroll import BACKENDS, choose, unroll
from lstm_jax.unroll.properties import weigh

__all__ = ["parity", "resume"]

CELLS = ("lstm", "gru", "peephole", "janet", "layer_norm_lstm", "min_lstm", "mogrifier")
WIDTHS = ("float32", "bfloat16")
STEPS, BATCH, INPUTS, HIDDEN = 7, 8, 24, 32


def relative(found: Any, wanted: Any) -> float:
    """||found - wanted|| / ||wanted|| over all leaves, in float64."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    flat = [(np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()) for a, b in pairs]
    a, b = (np.concatenate(part) for part in zip(*flat, strict=True))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def values_and_gradients(cell: Any, params: Any, xs: Any, carry: Any, backend: str) -> tuple[Any, Any]:
    """(last carry and ys, gradients of a random weighting of both in params, xs and carry)."""

    def loss(params: Any, xs: Any, carry: Any) -> tuple[Any, Any]:
        found = unroll(cell, params, xs, carry, backend=backend)
        return weigh((found.carry, found.ys)), (found.carry, found.ys)

    (_, values), gradients = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(params, xs, carry)
    return values, gradients


def backends_of(cell: Any) -> Iterator[str]:
    """The backends that serve a cell here, the loop aside."""
    for name in BACKENDS:
        try:
            choose(cell, name)
        except UserError:
            continue
        if name != "loop":
            yield name


def parity(settings: Settings) -> Iterator[Row]:
    """Yields a row for each cell, dtype and backend: relative difference of values and gradients to the loop.

    The loop computes in float32 with full products. `float32` rows ask the backend for full products too, and
    `tf32` rows for what the device does by default; `bfloat16` rows compute in bfloat16.
    """
    for name in CELLS[:3] if settings.miniature else CELLS:
        cells = {width: make_cell(name, HIDDEN, dtype=width) for width in WIDTHS}
        params = cells["float32"].init(jax.random.key(0), INPUTS)
        xs = jax.random.normal(jax.random.key(1), (STEPS, BATCH, INPUTS))
        carry = cells["float32"].carry(params, BATCH)
        with jax.default_matmul_precision("highest"):
            wanted = values_and_gradients(cells["float32"], params, xs, carry, "loop")
        for kind, precision in (("float32", "highest"), ("tf32", "default"), ("bfloat16", "default")):
            cell = cells["bfloat16" if kind == "bfloat16" else "float32"]
            for backend in backends_of(cell):
                row: Row = {"cell": name, "precision": kind, "backend": backend}
                try:
                    with jax.default_matmul_precision(precision):
                        start = cell.carry(params, BATCH)
                        found = values_and_gradients(cell, params, xs, start, backend)
                    row |= {
                        "values": relative(found[0], wanted[0]),
                        "gradients": relative(found[1], wanted[1]),
                    }
                except Exception as error:  # a backend that fails must not hide the others
                    row["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
                yield row


def small_run(settings: Settings) -> Any:
    """A run of seconds with dropout, random windows and averaging, on the embedded text."""
    from configs import quickstart

    config = quickstart.get_config()
    config.train.update(epochs=2, eval_every=20, save_every=20, steps_per_call=10, tensorboard=False)
    config.model.update(hidden=(32,) if settings.miniature else (256, 256), embedding=32, tied=False)
    config.model.dropout.update(output=0.3, weight=0.2)
    config.task.update(batch=400, window=20, window_jitter=2.0)
    config.optim.update(name="sgd", average=True, average_after=0)
    config.evaluate.sample = 0
    return config


def resume(settings: Settings) -> Iterator[Row]:
    """Yields one row: whether a run that stopped after an evaluation ends as one that never did."""
    from lstm_jax.runs.interrupts import Stopped
    from lstm_jax.runs.metrics import read_result
    from lstm_jax.training import loop

    def stop(step: int, figures: Any) -> None:
        if step >= 20:
            raise Stopped("stopped to be resumed")

    config, results = small_run(settings), {}
    for name in ("whole", "resumed"):
        workdir = Path(settings.work) / f"resume-{name}"
        shutil.rmtree(workdir, ignore_errors=True)
        if name == "resumed":
            with contextlib.suppress(Stopped):
                loop.run(config, str(workdir), on_evaluation=stop)
        loop.run(config, str(workdir))
        results[name] = read_result(workdir)["figures"]["static"]
    differences = [
        abs(results["whole"][split][figure] - results["resumed"][split][figure])
        for split in ("valid", "test")
        for figure in results["whole"][split]
    ]
    yield {"bit_for_bit": results["whole"] == results["resumed"], "largest_difference": max(differences)}
