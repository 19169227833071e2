"""Trains many variants and compares them: `python experiments/sweep.py --config=configs/sweeps/NAME.py`."""

import importlib.util
import inspect
import os
import shlex
import shutil
import sys
import time
from types import ModuleType
from typing import Any

from lstm_jax import cli
from lstm_jax.support.errors import UserError

USAGE = """
Trains the members of a sweep, each a full run in DIR/members/NAME, and compares them over seeds: a table,
DIR/summary.csv and DIR/figures. A config file defines its sweep by a function sweep(), see
lstm_jax/sweep/define.py; --grid and --seeds add to it, or make a sweep of any config.

  python experiments/sweep.py --config=configs/sweeps/delayed_recall_forget_bias.py
  python experiments/sweep.py --config=configs/memory/delayed_recall.py \\
      --grid model.cell.forget_bias=0,1,2,chrono --grid task.length=50,100 --seeds=5
  ... --mode=processes --jobs=4 --config.train.epochs=5 --workdir=DIR
  ... --mode=ray --address=10.0.0.1:6379 --task_gpus=0.25 --workdir=/shared/DIR    # on a Ray cluster

Started again in the same --workdir, a sweep resumes; what is finished stays as it is.
Ctrl-C and SIGTERM save first. The exit status is 1 where a member failed; its failure.json says why.
"""


def define_flags() -> None:
    cli.with_config("configs/sweeps/delayed_recall_forget_bias.py")
    cli.define("multi_string", "grid", None, "FIELD=VALUE,VALUE: sweep this field too. May be given again.")
    cli.define("string", "seeds", "", "Number of seeds, or seeds with commas between.")
    cli.define(
        "string",
        "mode",
        "auto",
        "How members are trained: auto (measures), sequential, processes, vmap or ray.",
    )
    cli.define("integer", "jobs", 0, "Worker processes; 0: one a core, with vmap one in all.")
    cli.define(
        "integer", "together", None, "The most members trained at once by one program; vmap: 64, ray: 1."
    )
    cli.define("integer", "member_devices", 0, "vmap: devices along the axis of members; 0: as many as fit.")
    cli.define("string", "address", "", "ray: HOST:PORT of a cluster's head. Default: one is started here.")
    cli.define("float", "task_cpus", 1.0, "ray: CPUs of a member.")
    cli.define(
        "float",
        "task_gpus",
        -1.0,
        "ray: GPUs of a member, 0.25 where four share one; -1: one if there are any.",
    )
    cli.define("string", "keep", "best", "Checkpoints of a finished member that stay: best, all or none.")
    cli.define("bool", "retry", False, "Train members that failed again.")
    cli.define("bool", "list", False, "Show the members and train nothing.")
    cli.define("bool", "figures_only", False, "Train nothing: summary and figures of what is there.")
    cli.define("string", "metric", "", "Metric that the table compares. Default: the sweep's.")
    cli.with_figures()


def module_of(path: str) -> ModuleType:
    """The config file as a module."""
    file = os.path.abspath(path)
    spec = importlib.util.spec_from_file_location("sweep_config", file)
    if spec is None or spec.loader is None:
        raise UserError(f"no config file {path}: give --config=configs/sweeps/NAME.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def definition_of(path: str, variant: str) -> Any:
    """What the config file's sweep() gives, called with the variant where it takes one; None without it."""
    function = getattr(module_of(path), "sweep", None)
    if function is None:
        return None
    return function(variant) if variant and inspect.signature(function).parameters else function()


def compare(workdir: str, metric: str, how: Any = None) -> None:
    """Prints the table and draws the figures; `how` is a `Print`, None the default."""
    from lstm_jax.analysis.files import PNG
    from lstm_jax.sweep.comparison import read
    from lstm_jax.sweep.plots import draw
    from lstm_jax.sweep.summary import summarise
    from lstm_jax.sweep.table import table

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    print(f"\n{table(summarise(workdir, metric), width)}\n")
    print(f"summary {os.path.join(workdir, 'summary.csv')}")
    for file in draw(workdir, comparison=read(workdir, metric), how=how or PNG):
        print(f"figure {file}")
    chosen = f" --metric={metric}" if metric else ""
    print(f"page: python experiments/report.py --sweep={shlex.quote(workdir)}{chosen}")
    sys.stdout.flush()


def main(arguments: list[str]) -> None:
    from absl.flags import FLAGS
    from ml_collections import config_flags

    if arguments:
        raise UserError(f"unexpected argument {arguments[0]!r}; write --grid=FIELD=VALUES, --seeds=N")
    config, workdir = cli.config_and_workdir()
    how = cli.figure_print()
    if FLAGS.figures_only:
        compare(workdir, FLAGS.metric, how)
        return
    from lstm_jax.sweep.define import command_line, expand
    from lstm_jax.sweep.run import run

    path, _, variant = config_flags.get_config_filename(FLAGS["config"]).partition(":")
    definition = command_line(config, definition_of(path, variant), FLAGS.grid or [], FLAGS.seeds)
    sweep = expand(config, definition | ({"metric": FLAGS.metric} if FLAGS.metric else {}))
    if FLAGS.list:
        print("\n".join(member.name for member in sweep.members))
        print(f"{len(sweep.members)} members")
        return
    began = time.monotonic()
    outcome = run(
        sweep,
        workdir,
        mode=FLAGS.mode,
        jobs=FLAGS.jobs,
        together=FLAGS.together,
        member_devices=FLAGS.member_devices,
        address=FLAGS.address,
        task_cpus=FLAGS.task_cpus,
        task_gpus=FLAGS.task_gpus,
        keep=FLAGS.keep,
        retry=FLAGS.retry,
        config_file=path,
    )
    compare(workdir, FLAGS.metric, how)
    print(f"{len(outcome.finished)} of {len(sweep.members)} finished; {time.monotonic() - began:.0f} s")
    for name, error in outcome.failed.items():
        print(f"failed {name}: {error}", file=sys.stderr, flush=True)
    if outcome.failed:
        sys.exit(1)


if __name__ == "__main__":
    define_flags()
    cli.launch(main, USAGE)
