"""What the units of a trained run do: `python experiments/analyze.py --run=DIR --what=all`."""

import sys
from collections.abc import Callable
from typing import Any

from lstm_jax import cli

USAGE = """
Analyzes a run with its best checkpoint and writes DIR/analysis/NAME.png and NAME.json for each instrument.
Any task's run will do; --what=all runs the instruments that fit, and reports which do not and why.

  python experiments/analyze.py --run=runs/small
  python experiments/analyze.py --run=runs/small --what=gates --text="the company said it will sell"
  python experiments/analyze.py --run=runs/small --what=timescales,lags --split=test --tokens=50000
  python experiments/analyze.py --run=runs/small --what=context --lengths=5,10,20,50,100 --targets=10000

instruments:
"""


def define_flags() -> None:
    cli.define("string", "run", "", "Directory of the run (what --workdir was in training).")
    cli.define("string", "what", "all", "Instruments, with commas between, or all.")
    cli.define("string", "text", "", "A sentence to look at (language models). Default: one of the split.")
    cli.define("string", "split", "valid", "Split that is read: train, valid or test.")
    cli.define("integer", "tokens", 10_000, "Steps of the split that are read, all sequences together.")
    cli.define("integer", "max_lag", 100, "Steps back that are looked at.")
    cli.define("list", "lengths", [], "Contexts in tokens (context), lengths of the task (recall): 10,20,50.")
    cli.define("integer", "targets", 1000, "Tokens predicted under every context, at least (text).")
    cli.define("integer", "units", 0, "Units of each layer that are ablated; 0: all.")
    cli.define("string", "field", "", "What of a unit is ablated: h or c. Default: h, where there is one.")
    cli.define("integer", "seed", 0, "Of what is drawn.")
    cli.define("string", "out", "", "Where figures and numbers go. Default: analysis in the run's directory.")
    cli.define("string", "data_dir", "", "Where the corpus lies, if not where the run's config says.")
    cli.with_figures()


def usage() -> str:
    """USAGE with the table of instruments, which costs an import of jax."""
    if not any(a in ("--help", "-h", "-help", "--helpfull", "-?") for a in sys.argv[1:]):
        return ""
    from lstm_jax.analysis.instruments import INSTRUMENTS

    return USAGE + "\n".join(f"  {name:<14}{instrument.what}" for name, instrument in INSTRUMENTS.items())


def bar(progress: Any) -> Callable[[int, int], None]:
    """Work done as hundredths of the whole."""
    return lambda done, total: progress.update(100 * done // total)


def main(arguments: list[str]) -> None:
    from absl.flags import FLAGS

    from lstm_jax.analysis.instruments import INSTRUMENTS, Options, chosen, directory_for, write
    from lstm_jax.predict import Run
    from lstm_jax.predict.standard_input import check_arguments
    from lstm_jax.runs.progress import Progress
    from lstm_jax.support.errors import UserError

    check_arguments(arguments, FLAGS.run)
    how = cli.figure_print()
    options = Options(**{field: FLAGS[field].value for field in Options.__dataclass_fields__})
    run = Run(FLAGS.run, FLAGS.data_dir)
    named = [name.strip() for name in FLAGS.what.split(",")]
    taken, left = chosen(run, named)
    directory = directory_for(run, FLAGS.out)
    for name in taken:
        try:
            with Progress(100) as progress:
                reading = INSTRUMENTS[name].measure(run, options, bar(progress))
        except UserError as error:
            if name in named:
                raise
            left[name] = str(error)
            continue
        written = write(run, name, options, reading, directory, how)
        print(f"{name}: {', '.join(map(str, written.files))}")
        for line in written.lines:
            print(f"  {line}")
        sys.stdout.flush()
    for name, reason in left.items():
        print(f"left out {name}: {reason}")
    sys.stdout.flush()


if __name__ == "__main__":
    define_flags()
    cli.launch(main, usage())
