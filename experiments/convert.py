"""Weights to and from PyTorch by safetensors: `python experiments/convert.py --run=DIR --to=FILE`."""

import sys

from lstm_jax import cli

USAGE = """
Writes the best parameters of a run as a safetensors file, or makes a run's directory from such a file.

  python experiments/convert.py --run=runs/small --to=small.safetensors
  python experiments/convert.py --from=small.safetensors --run=runs/copy
  python experiments/convert.py --from=theirs.safetensors --like=runs/small --run=runs/theirs
  python experiments/ptb_lm.py --config=configs/zaremba.py:small --config.train.init_from=FILE.safetensors

The names are those of pytorch/examples' word_language_model, so that in PyTorch
  RNNModel("LSTM", V, E, H, layers).load_state_dict(safetensors.torch.load_file("small.safetensors"))
PyTorch keeps two biases a gate: merged on the way in; on the way out all is in bias_ih, and bias_hh is zeros.
A file made here holds config and vocabulary too; for another's, --like names a run of the same model.
"""


def define_flags() -> None:
    cli.define("string", "run", "", "Directory of the run that is read (--to) or made (--from).")
    cli.define("string", "to", "", "Safetensors file to write.")
    cli.define("string", "from", "", "Safetensors file to read.")
    cli.define("string", "layout", "torch", "torch, or lstm_jax: our own names, for cells PyTorch lacks.")
    cli.define("string", "like", "", "Run whose config and vocabulary to take (--from). Default: the file's.")
    lines = "Tokens of the file's rows (--from), if it lacks them: one a line, or a vocabulary.json."
    cli.define("string", "vocabulary", "", lines)


def main(arguments: list[str]) -> None:
    from absl.flags import FLAGS

    from lstm_jax.predict import Run, weights_io
    from lstm_jax.predict.standard_input import check_arguments
    from lstm_jax.predict.text_encoding import read_tokens
    from lstm_jax.support.errors import UserError

    check_arguments(arguments, FLAGS.run)
    source = FLAGS["from"].value
    if bool(FLAGS.to) == bool(source):
        raise UserError("give --to=FILE.safetensors to write a run, or --from=FILE.safetensors to make one")
    if FLAGS.to:
        file = weights_io.write_run_weights(Run(FLAGS.run), FLAGS.to, FLAGS.layout)
        for name, tensor in file.tensors.items():
            print(f"{name:<28}{tensor.dtype!s:<10}{list(tensor.shape)}")
        for name, text in sorted(file.about.items()):
            print(f"{name:<28}{text if len(text) < 75 else f'{len(text):,} characters of JSON'}")
        print(FLAGS.to)
    else:
        tokens = read_tokens(FLAGS.vocabulary) if FLAGS.vocabulary else None
        run = weights_io.run_from_weights(source, FLAGS.run, Run(FLAGS.like) if FLAGS.like else None, tokens)
        print(f"{run.paths.root}: the parameters of {source}, as the best of step {run.step}")
    sys.stdout.flush()


if __name__ == "__main__":
    define_flags()
    cli.launch(main, USAGE)
