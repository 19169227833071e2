"""How much context a run's language model uses, beside the published figures."""

from lstm_jax.analysis import context
from lstm_jax.analysis.instruments.base import Instrument, Measurement, Options, Progress, title_of
from lstm_jax.analysis.instruments.text import no_text, split_tokens
from lstm_jax.analysis.instruments.windows import unit_of
from lstm_jax.predict import Run
from lstm_jax.support.errors import UserError

__all__ = ["CONTEXT"]

SHORTEST_SPLIT = 4
"""A context is measured where the split is this many times as long: else hardly a target has it."""


def _measure(run: Run, options: Options, progress: Progress) -> Measurement:
    tokens, first = split_tokens(run, options.split)
    lengths = list(options.lengths) or [n for n in context.LENGTHS if SHORTEST_SPLIT * n <= len(tokens)]
    if not lengths:
        raise UserError(
            f"the {options.split} split has {len(tokens)} tokens: contexts need "
            f"{SHORTEST_SPLIT * context.LENGTHS[0]} at least"
        )
    found = context.context_losses(
        run.model, run.params, tokens, first, lengths=lengths, targets=options.targets, seed=options.seed,
        progress=progress,
    )  # fmt: skip
    curve = context.curve(found)
    shift = 2 * curve.excess_error
    low, middle, high = (context.effective(curve.lengths, curve.excess + by) for by in (-shift, 0, shift))
    unit = unit_of(run)
    name = title_of(run)
    published = context.PUBLISHED if run.config["task"].get("corpus") == "ptb" and unit == "tokens" else {}
    figure = context.figure(
        {name: curve},
        unit=unit,
        title=f"{name}: loss by context, {curve.targets:,} targets ({options.split})",
        published=published,
        marks={"window of training:": run.config["task"]["window"]},
    )
    values = {
        "unit": unit,
        "split": options.split,
        "targets": curve.targets,
        "lengths": curve.lengths,
        "nats": curve.mean,
        "nats_error": curve.error,
        "nats_whole_text": curve.full,
        "nats_whole_text_error": curve.full_error,
        "excess_nats": curve.excess,
        "excess_nats_error": curve.excess_error,
        "effective_context": middle,
        "effective_context_two_errors": [low, high],
    }
    longest = f"more than {lengths[-1]}"
    said = [longest if bound == float("inf") else f"{bound:.0f}" for bound in (low, middle, high)]
    lines = [
        f"perplexity within 1 % of the whole text's from {said[1]} {unit} on ({said[0]} to {said[2]}: two "
        f"standard errors, {curve.targets:,} targets)"
    ]
    return Measurement({"": figure}, values, lines)


CONTEXT = Instrument(
    _measure, "loss with the state cut to the last n tokens, and the effective context", no_text
)
