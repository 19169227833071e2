"""Trains a classifier of texts: `python experiments/classify.py --config=configs/classify/default.py`."""

import sys

from lstm_jax import cli

USAGE = """
Trains a network that puts a label on a text, evaluates its best checkpoint (accuracy, macro F1, the F1 of
each label), and draws its confusion matrix and its calibration on test in DIR/analysis.

  python experiments/classify.py
  python experiments/classify.py --config=configs/classify/topics.py --config.model.directions=1
  python experiments/classify.py --config=configs/classify/files.py --config.task.data_dir=reviews.csv \\
      --config.task.text_column=review --config.task.label_column=stars
  ... --config.model.pooling=mean --config.model.cell.name=gru --config.objective.l2=1e-5 --workdir=DIR

Texts come from files (CSV, TSV, JSON lines), from TFDS, or from Python's own library, which needs no network.
The run's directory alone serves to predict. Started again in the same --workdir, a run goes on where it
stopped. Ctrl-C and SIGTERM save first.
"""


def main(arguments: list[str]) -> None:
    from lstm_jax.analysis.instruments import INSTRUMENTS, Options, measure_and_write
    from lstm_jax.predict import Run
    from lstm_jax.training import loop

    config, workdir = cli.config_and_workdir()
    loop.run(config, workdir)
    run = Run(workdir)
    if run.is_classifier:
        for name in ("confusion", "calibration"):
            if reason := INSTRUMENTS[name].unsupported(run):
                print(f"left out {name}: {reason}")
                continue
            written = measure_and_write(run, name, Options(split="test"))
            print("\n".join([f"{name} {written.files[0]}", *(f"  {line}" for line in written.lines)]))
    sys.stdout.flush()


if __name__ == "__main__":
    cli.with_config("configs/classify/default.py")
    cli.launch(main, USAGE)
