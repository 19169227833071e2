"""Where a run looks: a memory network at sentences, an attention LSTM at its past, a classifier at words."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from lstm_jax.analysis import attention, memories
from lstm_jax.analysis.instruments.base import Instrument, Measurement, Options, Progress, title_of
from lstm_jax.analysis.instruments.sequence import one_sequence
from lstm_jax.analysis.instruments.windows import batches, kind_of
from lstm_jax.analysis.style import shown_label
from lstm_jax.models.pooling import attention_weights
from lstm_jax.predict import Run

__all__ = ["ATTENTION"]

STORIES = 4
"""Stories that fit into one figure."""


def _stories(run: Run, options: Options) -> Measurement:
    """Stories of the split, drawn by the seed."""
    batch, facts = next(batches(run, options.split)), run.task.facts
    rows = np.random.default_rng(options.seed).permutation(batch.inputs.shape[1])[:STORIES]
    inputs = batch.inputs[:, rows]
    outputs = run.model.apply(run.params, inputs, run.model.carry(run.params, len(rows)))
    gates = np.asarray(outputs.traces[1]["attention"])
    said = np.asarray(outputs.logits[0].argmax(-1))  # the same at every step
    words, answers = facts["words"], facts["answers"]
    found = []
    for column, row in enumerate(rows):
        tokens = np.asarray(inputs[:, column])
        asked = int(np.flatnonzero(tokens == facts["question_end"])[0])
        ends = np.flatnonzero(tokens[:asked] == facts["sentence_end"]) + 1
        *sentences, question = np.split(tokens[: asked + 1], ends)
        found.append(
            attention.Story(
                [" ".join(words[token] for token in sentence[:-1]) for sentence in sentences],
                gates[ends - 1, column],
                " ".join(words[token] for token in question),
                answers[int(batch.targets[asked, row])],
                answers[int(said[column])],
            )
        )
    lines = []
    for story in found:
        for sentence, row in zip(story.sentences, story.gates, strict=True):
            lines.append(f"  {' '.join(f'{gate:.2f}' for gate in row)}  {sentence}")
        lines.append(f"{story.question} {story.outcome}")
    figure = attention.stories_figure(found, title=f"{title_of(run)}: attention ({options.split})")
    return Measurement({"": figure}, {"stories": [story._asdict() for story in found]}, lines)


def _past(run: Run, options: Options) -> Measurement:
    """Each layer's attention over its own past states, over one sequence."""
    sequence = one_sequence(run, options)
    traces = run.model.apply(run.params, sequence.inputs, run.model.carry(run.params, 1)).traces
    figures, layers = {}, []
    for index, trace in enumerate(traces):
        weights = memories.by_position(trace["attention"][:, 0])
        name = f"layer{index + 1}"
        figures[name] = memories.attention_figure(
            weights, sequence.labels, title=f"{title_of(run)}, layer {index + 1}"
        )
        layers.append({"attention": weights})
    return Measurement(figures, {"inputs": sequence.labels, "layers": layers}, sequence.told)


def _words(run: Run, options: Options) -> Measurement:
    """The words whose states a classifier's answer is the mean of."""
    sequence = one_sequence(run, options)
    lengths = jnp.array([len(sequence.labels)])
    outputs = run.model.apply(run.params, sequence.inputs, run.model.carry(run.params, 1), lengths=lengths)
    weights = np.asarray(attention_weights(run.params["attention"], outputs.hidden, lengths)[:, 0])
    said = run.encoder.labels[int(outputs.logits[0, 0].argmax(-1))]
    title = f"{title_of(run)}: {shown_label(said)}"
    figure = attention.words_figure(weights, sequence.labels, title=title)
    most = np.argsort(-weights)[:5]
    told = ", ".join(f"{sequence.labels[word]} {weights[word]:.2f}" for word in most)
    return Measurement(
        {"": figure},
        {"inputs": sequence.labels, "attention": weights, "said": said},
        [*sequence.told, f"{shown_label(said)}: {told}"],
    )


def _kind(run: Run) -> Callable[[Run, Options], Measurement] | None:
    model = run.config["model"]
    name = model.get("name", "recurrent")
    if name == "dynamic_memory":
        return _stories
    if name == "classifier" and model.get("pooling") == "attention":
        return _words
    if name == "recurrent" and model["cell"]["name"] == "attention_lstm":
        return _past
    return None


def _measure(run: Run, options: Options, progress: Progress) -> Measurement:
    kind = _kind(run)
    assert kind is not None, "checked by _unsupported"
    return kind(run, options)


def _unsupported(run: Run) -> str | None:
    if _kind(run):
        return None
    has = "the model dynamic_memory, the cell attention_lstm and a classifier with pooling=attention do"
    return f"the {kind_of(run)} turns no attention on anything: {has}"


ATTENTION = Instrument(_measure, "which sentences, past steps or words the network looks at", _unsupported)
