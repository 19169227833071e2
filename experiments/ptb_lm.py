"""Trains and evaluates a language model: `python experiments/ptb_lm.py --config=configs/quickstart.py`."""

from lstm_jax import cli

USAGE = """
Trains a language model, evaluates its best checkpoint on valid and test, and samples from it.

  python experiments/ptb_lm.py --config=configs/quickstart.py
  python experiments/ptb_lm.py --config=configs/zaremba.py:small --config.task.data_dir=DIR

One run on many machines, or processes: the same command on each, with --distributed; the batch is cut over
all devices, and --workdir and the data must lie where all see them. SLURM tells the rest; by hand:

  ... --distributed --coordinator=10.0.0.1:8476 --processes=2 --process_id=0    # and 1 on the other

Started again in the same --workdir, a run goes on where it stopped. Ctrl-C and SIGTERM save first.
Every field that --config.section.field=value can set is in configs/base.py, with its unit and source.
"""


def main(arguments: list[str]) -> None:
    from lstm_jax.training import loop

    cli.join_processes()
    config, workdir = cli.config_and_workdir()
    loop.run(config, workdir)


if __name__ == "__main__":
    cli.with_config("configs/quickstart.py")
    cli.with_processes()
    cli.launch(main, USAGE)
