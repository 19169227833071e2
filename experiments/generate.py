"""Samples from a trained language model: `python experiments/generate.py --run=runs/quickstart`."""

import sys

from lstm_jax import cli

USAGE = """
Continues a prompt with the best checkpoint of a run.

  python experiments/generate.py --run=runs/quickstart --prompt="The value of"
  python experiments/generate.py --run=runs/small --temperature=0.8 --top_k=40 --samples=3
  echo "the company said" | python experiments/generate.py --run=runs/small --prompt=- --tokens=50

The samples go to standard output, everything else to standard error. Words that the model does not know
are read as <unk>, and named. A seed gives the same samples again.
"""


def define_flags() -> None:
    cli.define("string", "run", "", "Directory of the run (what --workdir was in training).")
    cli.define("string", "prompt", "", "Text to continue; - reads it from standard input.")
    cli.define("integer", "tokens", 200, "Tokens of each continuation (an end of line is one).")
    cli.define("float", "temperature", 1.0, "Divides the logits; 0 always takes the likeliest token.")
    cli.define("integer", "top_k", None, "Draw from the k likeliest tokens only. All by default.")
    cli.define("float", "top_p", 1.0, "Draw from the likeliest tokens that together reach this probability.")
    cli.define("integer", "seed", 0, "Seed of the draws.")
    cli.define("integer", "samples", 1, "Continuations of the prompt.")
    cli.define("bool", "allow_unk", False, "Whether <unk> may be drawn.")
    cli.define("bool", "raw", False, "Print tokens with a space between, as the corpus has them.")


def main(arguments: list[str]) -> None:
    from absl.flags import FLAGS

    from lstm_jax.predict import load
    from lstm_jax.predict.sampling import check_sampling
    from lstm_jax.predict.standard_input import check_arguments, read_all
    from lstm_jax.predict.text import describe_unknown

    check_arguments(arguments, FLAGS.run)
    options = {name: FLAGS[name].value for name in ("temperature", "top_k", "top_p", "seed")}
    check_sampling(**options)
    prompt = read_all().removesuffix("\n") if FLAGS.prompt == "-" else FLAGS.prompt
    model = load(FLAGS.run)
    samples = model.generate(
        prompt, FLAGS.tokens, samples=FLAGS.samples, allow_unknown=FLAGS.allow_unk, **options
    )
    if samples[0].unknown:
        print(describe_unknown(model.vocabulary, samples[0].unknown), file=sys.stderr)
    for number, sample in enumerate(samples, 1):
        if len(samples) > 1:
            print(f"--- sample {number} of {len(samples)}")
        print(sample.raw if FLAGS.raw else sample.text)
    sys.stdout.flush()


if __name__ == "__main__":
    define_flags()
    cli.launch(main, USAGE)
