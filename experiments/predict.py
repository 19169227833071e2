"""What comes next, or which label: `python experiments/predict.py --run=runs/small`."""

import json
import signal
import sys

from lstm_jax import cli

USAGE = """
Answers texts with the best checkpoint of a run: the likeliest next words of a language model, the label of a
classifier. At a terminal it asks for lines (Ctrl-D leaves, arrow keys and Ctrl-R find earlier ones); else it
answers each line of a file or of standard input as it comes, with one JSON object on one line.

  python experiments/predict.py --run=runs/small
  python experiments/predict.py --run=runs/small --file=sentences.txt --top=10 > next.jsonl
  echo '{"id": 7, "text": "the company said"}' | python experiments/predict.py --run=runs/small --surprisal

A line is text, or a JSON object {"text": ...} whose "id" comes back with its answer. A line that cannot be
answered gives {"line": N, "error": ...}, the others go on, and the exit status is 1 instead of 0. Text is
read as in training, by the vocabulary that the run's directory keeps; words that it lacks are named.
"""


def define_flags() -> None:
    cli.define("string", "run", "", "Directory of the run (what --workdir was in training).")
    cli.define("string", "file", "", "Lines to answer, UTF-8; - is standard input. Default: see above.")
    cli.define("integer", "top", 5, "Next words that are told (language models).")
    cli.define("bool", "surprisal", False, "Tell the surprisal of each token typed, too (language models).")
    cli.define("enum", "format", "auto", "What lines are.", enum_values=["auto", "text", "json"])
    cli.define("string", "history", "", "File of the lines typed at the prompt; - keeps none. Default: in ~.")


def main(arguments: list[str]) -> None:
    from lstm_jax.runs.interrupts import Interrupted

    try:
        predict(arguments)
    except KeyboardInterrupt:  # nothing was at stake
        raise Interrupted(signal.SIGINT, "stopped") from None


def predict(arguments: list[str]) -> None:
    from pathlib import Path

    from absl.flags import FLAGS

    from lstm_jax.predict.answering import answerer
    from lstm_jax.predict.prompt import converse, history_path
    from lstm_jax.predict.standard_input import check_arguments, open_lines
    from lstm_jax.predict.stream import answers

    check_arguments(arguments, FLAGS.run)
    prompted = not FLAGS.file and sys.stdin.isatty() and sys.stdout.isatty()
    file = None if prompted else open_lines(FLAGS.file)[0]  # a wrong name is told before the run is loaded
    asked = answerer(FLAGS.run, top=FLAGS.top, surprisal=FLAGS.surprisal)
    if file is None:
        history = {"": history_path(), "-": None}.get(FLAGS.history, Path(FLAGS.history))
        greeting = f"{FLAGS.run}: type {asked.asks}; Ctrl-D leaves. The first answer takes some seconds."
        converse(lambda line: asked.lines(asked.answer(line)), greeting, history)
        return
    lines = failed = 0
    # Half of a pair, in an id, is written as in JSON, \udXXX, for UTF-8 has none.
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    with file:
        for told in answers(file, asked.answer, FLAGS.format):
            lines += 1
            failed += "error" in told
            print(json.dumps(told, ensure_ascii=False, allow_nan=False), flush=True)
    if failed:
        print(f"{failed} of {lines} lines could not be answered", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    define_flags()
    cli.launch(main, USAGE)
