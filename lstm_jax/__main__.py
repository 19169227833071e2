"""The console script `lstm-jax COMMAND ...`, also `python -m lstm_jax COMMAND ...`."""

import runpy
import sys

from lstm_jax.support.locations import project_root

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "train": ("ptb_lm", "train a language model (Penn Treebank, your own text, the embedded text)"),
    "memory": ("memory", "train any cell on a task that measures memory"),
    "classify": ("classify", "train a classifier of labelled texts"),
    "sweep": ("sweep", "train many variants over seeds and compare them"),
    "atlas": ("atlas", "map cells against tasks"),
    "search": ("search", "search hyperparameters with optuna"),
    "report": ("report", "write a sweep as one page that opens offline"),
    "analyze": ("analyze", "analyze a trained run: gates, time scales, context, lags"),
    "predict": ("predict", "ask a trained run: next words or labels"),
    "generate": ("generate", "sample text from a trained language model"),
    "score": ("score", "score text with a trained language model"),
    "explore": ("explore", "open a local page on a trained run"),
    "convert": ("convert", "weights to and from PyTorch (safetensors)"),
    "export": ("export", "export a run as a program (jax.export)"),
    "list": ("list", "list cells, tasks, backends, configs or config fields"),
}
"""command -> (launcher in experiments/, what it does)."""


def usage() -> str:
    """Returns the text of `lstm-jax --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: lstm-jax COMMAND [--config=NAME[:VARIANT]] [--flag=value ...]",
            "",
            *lines,
            "",
            "`lstm-jax COMMAND --help` lists the flags of a command.",
            "example: lstm-jax train --config=zaremba:small --config.task.data_dir=DIR --workdir=runs/small",
        ]
    )


def main() -> None:
    """Runs the launcher of the command that `sys.argv` names."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("--help", "-h", "help"):
        print(usage())
        sys.exit(0 if arguments else 2)
    command = arguments[0]
    if command not in COMMANDS:
        from lstm_jax.support.errors import UserError
        from lstm_jax.support.registry import check_name

        try:
            check_name(command, COMMANDS, "command")
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    root = project_root()
    sys.path.insert(0, str(root))  # configs import each other as `configs.base`
    sys.argv = [f"lstm-jax {command}", *arguments[1:]]
    runpy.run_path(str(root / "experiments" / f"{COMMANDS[command][0]}.py"), run_name="__main__")


if __name__ == "__main__":
    main()
