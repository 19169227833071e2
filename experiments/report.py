"""Compares what a sweep left: `python experiments/report.py --sweep=DIR`."""

import os
import shutil
import sys

from lstm_jax import cli
from lstm_jax.support.errors import UserError

USAGE = """
Compares the variants of a sweep, finished or not: a table here and in DIR/summary.csv (mean over seeds with
its 95 % bootstrap interval, paired difference to a baseline, solved out of all), figures for print in
DIR/figures, and one page that opens offline and links to the runs' files, DIR/report.html.

  python experiments/report.py --sweep=runs/delayed_recall_forget_bias
  python experiments/report.py --sweep=DIR --baseline="forget_bias=1" --metric=nats
  python experiments/report.py --sweep=DIR --out=page.html --nofigures
"""


def define_flags() -> None:
    cli.define("string", "sweep", "", "Directory of the sweep (the --workdir of experiments/sweep.py).")
    cli.define(
        "string",
        "baseline",
        "",
        "Variant to compare with, as in forget_bias=1. Default: the sweep's, or its first.",
    )
    cli.define("string", "metric", "", "Metric on test that is compared. Default: the sweep's.")
    cli.define("string", "out", "", "The page. Default: report.html in the sweep's directory.")
    cli.define("string", "title", "", "Heading of the page and the figures. Default: the directory's name.")
    cli.define("bool", "figures", True, "Draw the figures for print too.")
    cli.with_figures()
    cli.define("bool", "page", True, "Write the page.")


def main(arguments: list[str]) -> None:
    from absl.flags import FLAGS

    directory = FLAGS.sweep or (arguments.pop() if len(arguments) == 1 else "")
    if arguments or not directory:
        raise UserError("give the directory of one sweep: --sweep=DIR")
    from lstm_jax.sweep.comparison import read
    from lstm_jax.sweep.plots import draw
    from lstm_jax.sweep.report.page import write
    from lstm_jax.sweep.summary import summarise
    from lstm_jax.sweep.table import failures, table

    how = cli.figure_print()
    found = read(directory, FLAGS.metric, FLAGS.baseline)
    summarise(directory, FLAGS.metric, FLAGS.baseline)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    print(table(found.groups, width))
    for line in failures(found.members):
        print(line)
    print(f"summary {os.path.join(directory, 'summary.csv')}")
    for file in draw(directory, FLAGS.title, found, how) if FLAGS.figures else []:
        print(f"figure {file}")
    if FLAGS.page:
        print(f"page {write(found, FLAGS.out, FLAGS.title)}")


if __name__ == "__main__":
    define_flags()
    cli.launch(main, USAGE)
