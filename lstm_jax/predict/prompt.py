"""A prompt on a terminal: a line is typed, and answered, until Ctrl-D.

Editing, history and search (Ctrl-R) are the terminal's own by `readline`, which comes with Python and obeys
~/.inputrc; a Python without it has a plain prompt.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from lstm_jax.support.errors import UserError

__all__ = ["converse", "history_path"]

KEPT = 1000
"""Lines of the history file."""


def history_path() -> Path:
    """Where lines typed before are kept: lstm_jax/predict_history in $XDG_STATE_HOME or ~/.local/state."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "lstm_jax" / "predict_history"


@contextlib.contextmanager
def _history(path: Path | None) -> Iterator[None]:
    """While entered, lines typed are kept in `path`, for its owner alone; None keeps none."""
    try:
        import readline
    except ImportError:
        yield
        return
    readline.set_auto_history(True)
    if path is None:
        yield
        return
    with contextlib.suppress(OSError):  # the first time there is none
        readline.read_history_file(path)
    readline.set_history_length(KEPT)
    try:
        yield
    finally:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            readline.write_history_file(path)
        except OSError as error:
            print(f"the history was not kept in {path}: {error.strerror}", file=sys.stderr)


def converse(
    answer: Callable[[str], list[str]], greeting: str, history: Path | None, prompt: str = "> "
) -> None:
    """Asks for lines and prints their answers until Ctrl-D; an empty line is asked again.

    Args:
      answer: (line) -> lines to print; what it raises as UserError is told, and the prompt comes back.
      greeting: printed first.
      history: file of the lines typed before, see `history_path`; None keeps none.
      prompt: before each line.

    Raises:
      KeyboardInterrupt: Ctrl-C. The history is kept.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that is not UTF-8 has no bars
    print(greeting, flush=True)
    with _history(history):
        while True:
            try:
                line = input(prompt)
                line.encode()
            except EOFError:
                print()  # the shell's prompt begins a line of its own
                return
            except KeyboardInterrupt:
                print()
                raise
            except UnicodeError:
                print("that was not UTF-8: set the terminal to it, or type it otherwise")
                continue
            if not line.strip():
                continue
            try:
                print("\n".join(answer(line)), flush=True)
            except UserError as error:
                print(error, flush=True)
