"""How likely a trained language model finds a text: `python experiments/score.py --run=DIR --file=FILE`."""

import json
import math
import sys

from lstm_jax import cli

USAGE = """
Scores the lines of a text with the best checkpoint of a run: nats and perplexity of each, and in all.

  python experiments/score.py --run=runs/small --file=sentences.txt
  echo "the company said" | python experiments/score.py --run=runs/small --per_token
  python experiments/score.py --run=runs/small --file=ptb.test.txt --carried --json > scores.jsonl

Each line is scored by itself, or with --carried as part of one text, which gives the figure of evaluation.
The end of a line is scored as a token. Words that the model does not know are scored as <unk>.
"""


def define_flags() -> None:
    cli.define("string", "run", "", "Directory of the run (what --workdir was in training).")
    cli.define("string", "file", "", "Text to score, UTF-8. Standard input by default.")
    cli.define("bool", "carried", False, "Carry the state from line to line: the lines are one text.")
    cli.define("bool", "per_token", False, "Show the log-probability of every token below its line.")
    cli.define("bool", "json", False, "One JSON object a line, with every token; the totals last.")


def figures(tokens: int, unknown: int, nats: float) -> dict:
    mean = nats / tokens
    return {
        "tokens": tokens,
        "unknown": unknown,
        "nats": nats,
        "perplexity": math.exp(mean) if mean < 700 else None,
    }


def row(name: object, figures: dict, text: str) -> str:
    perplexity = "inf" if figures["perplexity"] is None else f"{figures['perplexity']:.2f}"
    shown = text if len(text) <= 60 else text[:57] + "..."
    counts = f"{name:>6}  {figures['tokens']:>7}  {figures['unknown']:>7}"
    return f"{counts}  {figures['nats']:>11.3f}  {perplexity:>11}  {shown}".rstrip()


def main(arguments: list[str]) -> None:
    from absl.flags import FLAGS

    from lstm_jax.predict import load
    from lstm_jax.predict.standard_input import check_arguments, read_lines

    check_arguments(arguments, FLAGS.run)
    lines = read_lines(FLAGS.file)
    model = load(FLAGS.run)
    together = {"together": 1} if not FLAGS.file and sys.stdin.isatty() else {}
    total = {"tokens": 0, "unknown": 0, "nats": 0.0}
    for number, line in enumerate(model.score(lines, carried=FLAGS.carried, **together), 1):
        mine = figures(len(line.tokens), line.unknown_count, line.nats)
        total = {name: total[name] + mine[name] for name in total}
        if FLAGS.json:
            tokens = {"token": list(line.tokens), "log_prob": [round(float(p), 6) for p in line.log_probs]}
            print(json.dumps({"line": number, **mine, **tokens}, ensure_ascii=False), flush=bool(together))
            continue
        if number == 1:
            print("  line   tokens  unknown         nats   perplexity  text")
        print(row(number, mine, line.text), flush=bool(together))
        if FLAGS.per_token:
            for token, log_prob, known in zip(line.tokens, line.log_probs, line.known, strict=True):
                print(f"{log_prob:>19.4f}  {token!r}{'' if known else '  (unknown)'}")
    whole = figures(**total)
    print(
        json.dumps({"lines": number, "total": whole})
        if FLAGS.json
        else row("total", whole, f"{number} line{'s' * (number > 1)}")
    )
    sys.stdout.flush()


if __name__ == "__main__":
    define_flags()
    cli.launch(main, USAGE)
