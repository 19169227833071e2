"""Searches for good settings: `python experiments/search.py --config=configs/searches/NAME.py --trials=9`."""

import os
import shlex
import sys
import time

from sweep import definition_of

from lstm_jax import cli
from lstm_jax.support.errors import UserError

USAGE = """
Searches the space that a config file's sweep() gives in its part "random" (and "grid"; see
lstm_jax/sweep/define.py) with optuna: a sampler proposes settings, each trial is a full run in
DIR/members/, judged by its metric on valid, and a pruner ends those that are going badly. At the end: a
table, DIR/search.json and DIR/figures.

  python experiments/search.py --config=configs/searches/delayed_recall.py --trials=30
  ... --grid model.cell.name=lstm,gru --sampler=random --pruner=hyperband --config.train.epochs=5

Started again in the same --workdir, a search resumes until it has --trials; a run that was in training
resumes from its checkpoint. Several processes or machines may search together: the same command on each,
with one --storage and --study for all (a journal file on a shared file system, or a database's URL).
"""


def define_flags() -> None:
    cli.with_config("configs/searches/delayed_recall.py")
    cli.define("integer", "trials", 20, "Trials that the study is to have, those that are there included.")
    cli.define("string", "sampler", "tpe", "What proposes settings: tpe, random or qmc.")
    cli.define("string", "pruner", "median", "What ends a run early: median, hyperband or none.")
    cli.define(
        "string",
        "storage",
        "",
        "Journal file, or URL as in sqlite:///FILE. Default: journal.log in --workdir.",
    )
    cli.define("string", "study", "", "Name of the study in the storage. Default: that of --workdir.")
    cli.define("integer", "sampler_seed", None, "Seed of the sampler. Default: another each time.")
    cli.define("multi_string", "grid", None, "FIELD=VALUE,VALUE: choose among these too. May be given again.")
    cli.define("string", "metric", "", "Metric on valid that is sought. Default: the sweep's.")
    cli.define("string", "keep", "best", "Checkpoints of a trial that stay: best, all or none.")
    cli.with_figures()
    cli.define("bool", "take_over", False, "Resume what other machines left running; they must have stopped.")


def main(arguments: list[str]) -> None:
    from absl.flags import FLAGS
    from ml_collections import config_flags

    if arguments:
        raise UserError(f"unexpected argument {arguments[0]!r}; write --trials=N, --grid=FIELD=VALUES")
    from lstm_jax.sweep.define import command_line
    from lstm_jax.sweep.search.plots import draw, table
    from lstm_jax.sweep.search.run import SearchPaths, default_metric, records, search
    from lstm_jax.sweep.search.space import space_of
    from lstm_jax.sweep.search.study import need_optuna

    need_optuna()
    config, workdir = cli.config_and_workdir()
    how = cli.figure_print()
    path, _, variant = config_flags.get_config_filename(FLAGS["config"]).partition(":")
    definition = command_line(config, definition_of(path, variant) or {}, FLAGS.grid or [], "")
    space = space_of(config, definition)
    began = time.monotonic()
    study = search(
        space,
        workdir,
        trials=FLAGS.trials,
        metric=FLAGS.metric,
        sampler=FLAGS.sampler,
        pruner=FLAGS.pruner,
        storage=FLAGS.storage,
        study_name=FLAGS.study,
        seed=FLAGS.sampler_seed,
        keep=FLAGS.keep,
        take_over=FLAGS.take_over,
    )
    paths = SearchPaths(workdir)
    metric = default_metric(space, FLAGS.metric)
    found = records(study)
    print(f"\n{table(found, metric, study.direction.name.lower())}\n")
    print(f"record {paths.search}")
    for file in draw(study, metric, paths.figures, how):
        print(f"figure {file}")
    print(f"page: python experiments/report.py --sweep={shlex.quote(os.fspath(workdir))}")
    print(f"{time.monotonic() - began:.0f} s", flush=True)
    if not any(trial["state"] == "complete" for trial in found):
        sys.exit(1)


if __name__ == "__main__":
    define_flags()
    cli.launch(main, USAGE)
