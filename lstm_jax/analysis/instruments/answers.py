"""A run's answers to all of a split: which class is taken for which, and whether it is as sure as right."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_jax.analysis import calibration, confusion
from lstm_jax.analysis.instruments.base import Instrument, Measurement, Options, Progress, title_of
from lstm_jax.analysis.instruments.windows import batches
from lstm_jax.models.carry import from_start
from lstm_jax.predict import Run
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Array, Params
from lstm_jax.tasks import scores
from lstm_jax.tasks.base import Batch

__all__ = ["CALIBRATION", "CONFUSION", "Answers", "answers"]

MOST_CLASSES = 200
"""Most classes of a readable map; calibration is measured for any number."""


class Answers(NamedTuple):
    """probabilities [N, O] float64 and the true classes [N] of all that a split scores."""

    probabilities: np.ndarray
    true: np.ndarray


def answers(run: Run, split: str, progress: Progress) -> Answers:
    """The whole of a split, whatever `Options.tokens` is: figures of a part would not be the run's."""

    @jax.jit
    def window(params: Params, carry: tuple, batch: Batch) -> tuple[tuple, Array, Array]:
        carry = from_start(run.model, params, carry, batch)
        outputs = run.model.apply(params, batch.inputs, carry, lengths=batch.lengths, resets=batch.resets)
        return outputs.carry, jax.nn.log_softmax(outputs.logits.astype(jnp.float32)), scores.scored(batch)

    task = run.task
    total = task.pass_steps(split)
    carry = run.model.carry(run.params, task.batch_sizes[split])
    found, true = [], []
    for step, batch in enumerate(batches(run, split), 1):
        carry, nats, scored = window(run.params, carry, batch)
        scored = np.asarray(scored)
        found.append(np.exp(np.asarray(nats, np.float64)[scored]))
        true.append(np.asarray(batch.targets)[scored])
        progress(step, total)
    return Answers(np.concatenate(found), np.concatenate(true))


def _labels(run: Run) -> list[str]:
    return list(run.encoder.labels) if run.is_classifier else [str(k) for k in range(run.task.outputs)]


def _title(run: Run, split: str, count: int) -> str:
    return f"{title_of(run)}: {count:,} answers ({split})"


def _measure_confusion(run: Run, options: Options, progress: Progress) -> Measurement:
    labels, found = _labels(run), answers(run, options.split, progress)
    matrix = confusion.confusion(found.true, found.probabilities.argmax(1), len(labels))
    quality = confusion.quality(matrix)
    of_class = zip(labels, quality.precision, quality.recall, quality.f1, matrix.sum(1), strict=True)
    values = {
        "split": options.split,
        "labels": labels,
        "matrix": matrix,
        "accuracy": quality.accuracy,
        "macro_f1": quality.macro_f1,
        "classes": {
            label: {"precision": precision, "recall": recall, "f1": f1, "count": count}
            for label, precision, recall, f1, count in of_class
        },
    }
    off = matrix - np.diag(np.diag(matrix))
    row, column = np.unravel_index(np.argmax(off), off.shape)
    lines = [f"accuracy {quality.accuracy:.4f}, macro F1 {quality.macro_f1:.4f}"]
    if off.any():
        lines.append(f"most often confused: {labels[row]!r} taken for {labels[column]!r}, {off.max()} times")
    title = _title(run, options.split, len(found.true))
    return Measurement({"": confusion.figure(matrix, labels, title=title)}, values, lines)


def _measure_calibration(run: Run, options: Options, progress: Progress) -> Measurement:
    measured = calibration.calibration(*answers(run, options.split, progress))
    values = {"split": options.split, **measured._asdict()}
    line = (
        f"expected calibration error {measured.ece:.4f}: on average {measured.mean_confidence:.1%} sure, "
        f"{measured.mean_accuracy:.1%} right"
    )
    title = f"{_title(run, options.split, int(measured.answers.sum()))}, ECE {measured.ece:.3f}"
    return Measurement({"": calibration.figure(measured, title=title)}, values, [line])


def _unsupported(run: Run) -> str | None:
    if run.is_language_model:
        return "its classes are the words of a vocabulary"
    try:
        if run.task.loss is not scores.nats:
            return f"the task {run.task_name!r} has values for answers, no classes"
    except UserError as error:
        return str(error)
    return None


def _no_map(run: Run) -> str | None:
    if reason := _unsupported(run):
        return reason
    if run.task.outputs > MOST_CLASSES:
        return f"its {run.task.outputs} classes are more than the {MOST_CLASSES} that a map can show"
    return None


CONFUSION = Instrument(_measure_confusion, "which class is taken for which, over all of the split", _no_map)
CALIBRATION = Instrument(_measure_calibration, "how sure the answers are beside how right", _unsupported)
