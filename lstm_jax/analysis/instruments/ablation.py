"""What a run's single units are good for: the loss with one of them held at its mean."""

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.analysis import ablation
from lstm_jax.analysis.instruments.base import Instrument, Measurement, Options, Progress, title_of
from lstm_jax.analysis.instruments.text import split_tokens
from lstm_jax.analysis.instruments.windows import batches, unit_of
from lstm_jax.analysis.losses import shifted
from lstm_jax.predict import Run
from lstm_jax.support.errors import UserError
from lstm_jax.tasks.base import Batch

__all__ = ["ABLATION"]

ROWS = 20
"""Stretches of a text side by side."""
WARM_UP = 50
"""Unscored tokens before each: the state begins empty."""
SHARE = 5
"""One in so many of `tokens` of a text is scored, for every unit costs a pass, and a vocabulary's logits."""
NAMED = 10


def _text(run: Run, options: Options) -> Batch:
    """Stretches at even distances, each with a warm-up that is not scored."""
    tokens, first = split_tokens(run, options.split)
    inputs = shifted(tokens, first)
    rows = max(1, min(ROWS, len(tokens) // 200))
    warm_up = WARM_UP if rows > 1 else 0
    steps = warm_up + max(1, options.tokens // SHARE // rows)
    steps = min(steps, len(tokens) // rows)
    starts = np.linspace(0, len(tokens) - steps, rows).astype(int)
    at = starts[None] + np.arange(steps)[:, None]
    weights = np.repeat((np.arange(steps) >= min(warm_up, steps - 1))[:, None], rows, axis=1)
    return Batch(jnp.asarray(inputs[at]), jnp.asarray(tokens[at]), jnp.asarray(weights, jnp.float32))


def _sequences(run: Run, options: Options) -> Batch:
    """The first sequences of the split."""
    batch = next(batches(run, options.split))
    steps, rows = batch.inputs.shape[:2]
    kept = max(1, min(rows, options.tokens // steps))
    lengths = None if batch.lengths is None else batch.lengths[:kept]
    rest = batch._replace(lengths=None, fresh=False)
    cut = jax.tree.map(lambda leaf: leaf[:, :kept] if np.ndim(leaf) > 1 else leaf, rest)
    return cut._replace(lengths=lengths)


def _measure(run: Run, options: Options, progress: Progress) -> Measurement:
    batch = _text(run, options) if run.is_language_model else _sequences(run, options)
    field = _field(run, options.field)
    found = ablation.ablate(
        run.model, run.params, run.task.loss, batch, field=field, units=options.units or None,
        seed=options.seed, progress=progress,
    )  # fmt: skip
    step = unit_of(run).removesuffix("s")
    loss = "nats" if "nats" in run.task.chance else "squared error"
    figure = ablation.figure(
        found,
        field=field,
        unit=f"{loss} a {step}",
        title=f"{title_of(run)}: one unit at a time, {found.steps:,} scored {step}s ({options.split})",
    )
    order = np.argsort(-found.effect)
    named = [
        {
            "layer": found.layer[at] + 1,
            "unit": found.unit[at],
            "effect": found.effect[at],
            "error": found.error[at],
        }
        for at in order[:NAMED]
    ]
    lines = []
    for layer in np.unique(found.layer):
        mine = found.effect[found.layer == layer]
        top = np.flatnonzero(found.layer == layer)[np.argsort(-mine)[:3]]
        units = ", ".join(f"unit {found.unit[at]} {found.effect[at]:+.3f}" for at in top)
        beyond = int((mine > 2 * found.error[found.layer == layer]).sum())
        lines.append(
            f"layer {layer + 1}: {loss} a {step} up by more than two standard errors for {beyond} of "
            f"{len(mine)} units (by chance {0.023 * len(mine):.1f}); {units}"
        )
    values = {
        "split": options.split,
        "field": field,
        "held_at": "mean",
        "steps": found.steps,
        "loss": loss,
        "intact": found.intact,
        "layer": found.layer + 1,
        "unit": found.unit,
        "effect": found.effect,
        "error": found.error,
        "largest": named,
    }
    return Measurement({"": figure}, values, lines)


def _field(run: Run, asked: str) -> str:
    """What is held: what is asked for, else "h", else the memory of a cell that gives that itself.

    Raises:
      UserError: the run's cells have nothing of the kind.
    """
    if not asked:
        try:
            return _field(run, "h")
        except UserError as error:
            try:
                return _field(run, "c")
            except UserError:
                raise error from None
    one = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    if not run.is_language_model and run.task.vocab is None:
        one = jax.ShapeDtypeStruct((1, 1, run.task.input_dim or 1), jnp.float32)
    ablation.widths(run.model, jax.eval_shape(run.model.init, jax.random.key(0)), one, asked)
    return asked


def _unsupported(run: Run) -> str | None:
    try:
        _field(run, "")
    except UserError as error:
        return str(error)
    return None


ABLATION = Instrument(
    _measure, "increase of the loss when one unit's state is held at its mean", _unsupported
)
