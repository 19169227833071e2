"""What a run's language model uses of far words: their order, or only that they were there."""

from lstm_jax.analysis import perturbation
from lstm_jax.analysis.instruments.base import Instrument, Measurement, Options, Progress, title_of
from lstm_jax.analysis.instruments.text import no_text, split_tokens
from lstm_jax.analysis.instruments.windows import unit_of
from lstm_jax.predict import Run
from lstm_jax.support.errors import UserError

__all__ = ["PERTURBATION"]

LENGTH, SPAN = 300, 20
"""Tokens of context, and of a local shuffle, as in Khandelwal 2018."""


def _measure(run: Run, options: Options, progress: Progress) -> Measurement:
    tokens, first = split_tokens(run, options.split)
    if len(tokens) < 2 * LENGTH:
        raise UserError(
            f"the {options.split} split has {len(tokens)} tokens: contexts of {LENGTH} need {2 * LENGTH}"
        )
    found = perturbation.perturb_losses(
        run.model, run.params, tokens, first, length=LENGTH, span=SPAN, targets=options.targets,
        seed=options.seed, progress=progress,
    )  # fmt: skip
    unit, name, count = unit_of(run), title_of(run), len(found.positions)
    words = run.config["task"].get("corpus") == "ptb" and unit == "tokens"
    figure = perturbation.figure(
        found,
        length=LENGTH,
        span=SPAN,
        unit=unit,
        title=f"{name}: far {unit} perturbed, {count:,} targets ({options.split})",
        published=perturbation.PUBLISHED if words else {},
    )
    means = perturbation.increase(found)
    values = {
        "unit": unit,
        "split": options.split,
        "targets": count,
        "context": LENGTH,
        "span": SPAN,
        "distances": found.distances,
        "nats_intact": float(found.intact.mean(dtype="float64")),
        "increase": {kind: {"nats": mean, "error": error} for kind, (mean, error) in means.items()},
    }
    lines = []
    for kind, (mean, error) in means.items():
        told = ", ".join(
            f"{n}: {nats:+.3f}"
            for n, nats in zip(found.distances, mean, strict=True)
            if n in (5, 20, 50, 100)
        )
        lines.append(f"{kind:<9} beyond n, nats a token at n = {told} (errors up to {error.max():.3f})")
    return Measurement({"": figure}, values, lines)


PERTURBATION = Instrument(
    _measure, "increase of the loss when far words are shuffled, replaced or dropped", no_text
)
