"""A run as programs that need only jax: `python experiments/export.py --run=DIR --out=FILE`."""

import sys

from lstm_jax import cli

USAGE = """
Writes a run's step and sequence as programs of jax.export, for cpu, cuda and tpu, with its best parameters.

  python experiments/export.py --run=runs/small --out=small.program
  python experiments/export.py --run=runs/parity --out=parity.program --what=sequence

Loaded where jax is, with lstm_jax/compat/program.py alone (a copy of that one file will do):
  program = Program.load("small.program")
  carry = program.first_carry(batch=2)
  logits, carry = program.call("sequence", tokens, carry)      # [T, B] -> [T, B, V], any T and B
  logits, carry = program.call("step", logits[-1].argmax(-1), carry)
  print([program.vocabulary[token] for token in logits.argmax(-1)])
"""


def define_flags() -> None:
    cli.define("string", "run", "", "Directory of the run (what --workdir was in training).")
    cli.define("string", "out", "", "File to write.")
    cli.define("list", "what", [], "step, sequence. Default: all that the model can.")
    cli.define("list", "platforms", ["cpu", "cuda", "tpu"], "Where the programs shall run.")
    cli.define("string", "data_dir", "", "Where the corpus lies, if not where the run's config says.")


def main(arguments: list[str]) -> None:
    from absl.flags import FLAGS

    from lstm_jax.predict import Run, weights_io
    from lstm_jax.predict.standard_input import check_arguments
    from lstm_jax.support.errors import UserError

    check_arguments(arguments, FLAGS.run)
    if not FLAGS.out:
        raise UserError("which file? give --out=FILE; see --help")
    sizes = weights_io.export_run(Run(FLAGS.run, FLAGS.data_dir), FLAGS.out, FLAGS.what, FLAGS.platforms)
    for name, size in sizes.items():
        print(f"{name}: {size:,} bytes, for {', '.join(FLAGS.platforms)}")
    print(FLAGS.out)
    sys.stdout.flush()


if __name__ == "__main__":
    define_flags()
    cli.launch(main, USAGE)
