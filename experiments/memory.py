"""Trains any cell on any memory task: `python experiments/memory.py --config=configs/memory/adding.py`."""

from lstm_jax import cli

USAGE = """
Trains a recurrent network on a task that measures memory, and reports it against chance: loss, accuracy or
error, the step at which it was solved, and how it does at lengths that it was not trained on.

  python experiments/memory.py --config=configs/memory/delayed_recall.py --config.task.length=100
  python experiments/memory.py --config=configs/memory/base.py:parity --config.model.cell.name=gru
  ... --config.model.cell.forget_bias='chrono(100)' --config.evaluate.lengths='(50, 100, 200)'

  srun --nodes=2 python experiments/memory.py --distributed ...    # one run on many machines; see ptb_lm.py

Any task of lstm_jax.tasks.TASKS goes with any cell of lstm_jax.cells.CELLS. Started again in the same
--workdir, a run goes on where it stopped. Ctrl-C and SIGTERM save first.
"""


def main(arguments: list[str]) -> None:
    from lstm_jax.training import loop

    cli.join_processes()
    config, workdir = cli.config_and_workdir()
    loop.run(config, workdir)


if __name__ == "__main__":
    cli.with_config("configs/memory/delayed_recall.py")
    cli.with_processes()
    cli.launch(main, USAGE)
