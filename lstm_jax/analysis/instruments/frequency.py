"""Which tokens cost a run's language model most: by frequency in training, by position in the line."""

import numpy as np

from lstm_jax.analysis import frequency
from lstm_jax.analysis.instruments.base import Instrument, Measurement, Options, Progress, title_of
from lstm_jax.analysis.instruments.text import corpus_of, no_text, split_tokens
from lstm_jax.analysis.instruments.windows import unit_of
from lstm_jax.analysis.losses import token_nats
from lstm_jax.predict import Run

__all__ = ["FREQUENCY"]


def _measure(run: Run, options: Options, progress: Progress) -> Measurement:
    tokens, first = split_tokens(run, options.split)
    tokens = tokens[: options.tokens]
    nats = token_nats(run.model, run.params, tokens, first, progress=progress)
    vocabulary = corpus_of(run).vocabulary
    counts = np.bincount(corpus_of(run).tokens["train"], minlength=len(vocabulary))
    one = unit_of(run).removesuffix("s")
    panels = {
        f"occurrences of the {one} in training": frequency.by_frequency(nats, tokens, counts),
        f"position in the line ({one}s)": frequency.by_position(nats, tokens, vocabulary.eos),
    }
    mean = float(nats.mean(dtype=np.float64))
    figure = frequency.figure(
        panels,
        mean=mean,
        unit=one,
        title=f"{title_of(run)}: loss of {len(tokens):,} {one}s ({options.split})",
    )
    by_frequency, by_position = panels.values()
    rare, frequent = by_frequency.mean[0], by_frequency.mean[-1]
    lines = [
        f"{mean:.3f} nats a {one} over {len(tokens):,}; {frequent:.2f} at {by_frequency.lower[-1]:,} "
        f"occurrences in training or more, {rare:.2f} at {by_frequency.upper[0]:,} or fewer",
        f"first {one} of a line {by_position.mean[0]:.2f} nats, last bin {by_position.mean[-1]:.2f}",
    ]
    values = {
        "unit": one,
        "split": options.split,
        "tokens": len(tokens),
        "nats": mean,
        "by_frequency": by_frequency._asdict(),
        "by_position": by_position._asdict(),
    }
    return Measurement({"": figure}, values, lines)


FREQUENCY = Instrument(_measure, "loss by frequency in training and by position in the line", no_text)
