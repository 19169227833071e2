"""What an instrument is: a function of a run that gives figures and numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from lstm_jax.analysis.style import in_words
from lstm_jax.predict import Run
from lstm_jax.support.errors import UserError

__all__ = ["Instrument", "Measurement", "Options", "Progress"]

Progress = Callable[[int, int], None]
"""Called with (units of work done, in all) now and then; it may raise to stop."""


@dataclass(frozen=True)
class Options:
    """Options of the instruments; each reads those that concern it.

    Attributes:
      text: a sentence to look at, for a language model; "" takes one from the split.
      split: of the task's data, train, valid or test.
      tokens: steps of the split that are read, all sequences together; the split may have fewer.
      seed: of whatever is drawn.
      max_lag: steps back that are looked at.
      lengths: contexts in tokens (`context`), or lengths of the task (`recall`); ()
        is the instrument's default.
      targets: tokens whose loss is looked at under every context, at least, where there are so many.
      units: units of each layer that are held, drawn by the seed; 0: all.
      field: of the carry that is held, "h" or "c"; "" is h, or c where the cell has no h.
    """

    text: str = ""
    split: str = "valid"
    tokens: int = 10_000
    seed: int = 0
    max_lag: int = 100
    lengths: tuple[int, ...] = ()
    targets: int = 1000
    units: int = 0
    field: str = ""

    def __post_init__(self) -> None:
        if self.split not in ("train", "valid", "test"):
            raise UserError(f"split={self.split!r}: allowed: train, valid, test")
        for name, least in (("tokens", 1), ("max_lag", 1), ("targets", 1), ("units", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name}={getattr(self, name)} must be {least} or more")
        try:
            lengths = tuple(int(length) for length in self.lengths)
        except ValueError:
            lengths = (0,)
        if min(lengths, default=1) < 1:
            given = ",".join(map(str, self.lengths))
            raise UserError(f"lengths={given}: whole numbers from 1 up, with commas between")
        object.__setattr__(self, "lengths", lengths)  # texts of a command line become numbers
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed={self.seed} must lie between 0 and 2^32 - 1")


def title_of(run: Run) -> str:
    """Returns the run's name in words, for the title of a figure."""
    return in_words(run.paths.root.name)


class Measurement(NamedTuple):
    """The result of an instrument.

    Attributes:
      figures: by what follows the instrument's name in the file name; "" is the instrument's name alone.
      values: numbers, texts, arrays and nested dicts and lists of these, for the JSON file.
      lines: for the terminal.
    """

    figures: Mapping[str, Figure]
    values: Mapping[str, Any]
    lines: Sequence[str] = ()


class Instrument(NamedTuple):
    """An entry of INSTRUMENTS.

    Attributes:
      measure: (run, options, progress) -> Measurement; raises UserError where the options are wrong.
      what: one line for `--help`.
      unsupported: (run) -> None where the instrument fits the run, else the reason why not, as a clause.
    """

    measure: Callable[[Run, Options, Progress], Measurement]
    what: str
    unsupported: Callable[[Run], str | None] = lambda run: None
