"""Trains the memory atlas, every cell on every task, and draws its map: `python experiments/atlas.py`."""

import importlib.util
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from absl.flags import FLAGS

from lstm_jax import cli
from lstm_jax.support.errors import UserError
from lstm_jax.support.locations import locate_config

USAGE = """
Trains the members of the atlas that configs/atlas.py defines, those of a cell together in one program, writes
each finished member to OUT/SCALE/CELL.jsonl, and draws the map with its tables from what is there.

  python experiments/atlas.py --scale=small --minutes=10            # the next ten minutes' worth
  python experiments/atlas.py --scale=full --minutes=5 --compilers=8    # on a GPU
  python experiments/atlas.py --scale=full --cells=lstm,gru --tasks=parity,dyck
  python experiments/atlas.py --scale=small --figures_only

Started again it trains what is missing: a new cell or task of configs/atlas.py just its row or column.
"""
OUT = str(Path(__file__).parent / "atlas")


def define_flags() -> None:
    cli.define("string", "definition", "configs/atlas.py", "The file that defines the atlas.")
    cli.define("string", "scale", "small", "A name of its SCALES.")
    cli.define("string", "out", OUT, "Directory of the records, and of the map: OUT/SCALE.")
    cli.define("string", "cells", "", "Labels of cells, with commas between. Default: all.")
    cli.define("string", "tasks", "", "Labels of tasks, with commas between. Default: all.")
    cli.define("float", "minutes", 0.0, "Begin nothing that would end later than this; 0: no limit.")
    cli.define("integer", "compilers", 0, "Programs compiled ahead, in threads, for a GPU. 0: none, and each "
               "task has a program of its own: for a CPU, where a slice is then short.")  # fmt: skip
    cli.define("bool", "figures_only", False, "Train nothing: the map of what is there.")


def main(arguments: list[str]) -> None:
    from lstm_jax.sweep.atlas import records
    from lstm_jax.sweep.atlas.plan import make_plan

    definition = _module(FLAGS.definition)
    plan = make_plan(definition, FLAGS.scale, _labels(FLAGS.cells), _labels(FLAGS.tasks))
    out = Path(FLAGS.out) / FLAGS.scale
    if not FLAGS.figures_only:
        _train(plan, out, FLAGS.minutes, FLAGS.compilers)
    found = records.read(out)
    if not found:
        raise UserError(f"{out} has no records yet: leave --figures_only out")
    from lstm_jax.sweep.atlas import page

    whole = make_plan(definition, FLAGS.scale)
    for path in page.write(records.squares(found, whole), whole, found, definition.DELETANG, out):
        print(path)


def _module(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("atlas_definition", locate_config(path))
    if spec is None or spec.loader is None or not os.path.exists(str(spec.origin)):
        raise UserError(f"no file {path} defines an atlas: give --definition=configs/atlas.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _labels(text: str) -> list[str]:
    return [label for label in text.split(",") if label]


def _train(plan: Any, out: Path, minutes: float, compilers: int) -> None:
    from lstm_jax.sweep.atlas import records
    from lstm_jax.sweep.atlas.train import Group, draw_column

    began = time.monotonic()
    groups = list(plan.groups(records.keys(records.read(out), plan), apart=not compilers))
    columns = {column.label: column for _, some in groups for column in some}
    slowest = 0.0
    pool = ThreadPoolExecutor(max(1, compilers))
    try:
        drawn = {
            label: pool.submit(draw_column, column, plan) for label, column in columns.items() if compilers
        }

        def sequences(column: Any) -> Any:
            if column.label not in drawn:
                drawn[column.label] = pool.submit(draw_column, column, plan)
            return drawn[column.label].result()

        def ready(row: Any, some: Any) -> Any:
            return Group(plan, row, [sequences(column) for column in some]).compile()

        waiting = [pool.submit(ready, row, some) for row, some in groups] if compilers else []
        for number, (row, some) in enumerate(groups):
            begun = time.monotonic()
            if minutes and begun + slowest - began > 60 * minutes:
                print(f"{len(groups) - number} of {len(groups)} groups are left: the same command goes on")
                break
            group = waiting[number].result() if compilers else ready(row, some)
            compiled = time.monotonic()
            done = group.run()
            records.append(out, done)
            # What is compiled ahead is waited for at first alone.
            slowest = max(slowest, time.monotonic() - (compiled if compilers else begun))
            solved = sum(record["solved"] for record in done)
            print(
                f"{time.monotonic() - began:6.0f} s  {row.label:16} {' '.join(c.label for c in some)}: "
                f"{solved} of {len(done)} runs solved; waited {compiled - begun:.1f} s, trained "
                f"{time.monotonic() - compiled:.1f} s",
                flush=True,
            )
    finally:  # what is being compiled is not waited for
        pool.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    define_flags()
    cli.launch(main, USAGE)
