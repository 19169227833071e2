"""Where runs look: what the instrument shows is what the networks did, and its figures say of what."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import MODEL, write_label_run, write_recall_run, write_run

from lstm_jax import predict
from lstm_jax.analysis import attention, instruments
from lstm_jax.analysis.instruments import INSTRUMENTS, Options
from lstm_jax.runs.directory import RunPaths
from lstm_jax.support.errors import UserError

QUESTIONS = {"name": "questions", "length": 3, "kind": "all", "batch": 2, "eval_batch": 6, "eval_steps": 1}
MEMORY = {"name": "dynamic_memory", "hidden": [3], "embedding": 2, "episodes": 2, "cell": {}}


def measure(directory, **options):
    run = predict.Run(directory)
    return run, INSTRUMENTS["attention"].measure(run, Options(**options), lambda *_: None)


def test_a_memory_network_shows_its_gates_beside_the_sentences_they_are_of(tmp_path):
    run, reading = measure(write_run(tmp_path / "run", QUESTIONS, MEMORY), seed=5)
    batch, facts = run.task.batch(run.task.data, "valid", 0, 0), run.task.facts
    stories = {" ".join(facts["words"][t] for t in np.asarray(batch.inputs[:, row])): row for row in range(6)}
    assert len(reading.values["stories"]) == 4
    for story in reading.values["stories"]:
        text = " . ".join([*story["sentences"], story["question"]])
        (row,) = (number for whole, number in stories.items() if whole.startswith(text))
        alone = run.model.apply(run.params, batch.inputs[:, row : row + 1], ())
        at = np.flatnonzero(np.asarray(batch.inputs[:18, row]) == facts["sentence_end"])
        gates = alone.traces[1]["attention"][at, 0]
        np.testing.assert_allclose(story["gates"], gates, rtol=1e-5)
        asked = int(np.flatnonzero(np.asarray(batch.inputs[:, row]) == facts["question_end"])[0])
        assert story["answer"] == facts["answers"][int(batch.targets[asked, row])]
        assert story["said"] == facts["answers"][int(alone.logits[asked, 0].argmax())]
        outcome = f"{story['question']} {story['said']}"
        assert any(line.startswith(outcome) for line in reading.lines)
    panels = reading.figures[""].axes[:4]
    for axes, story in zip(panels, reading.values["stories"], strict=True):
        assert [tick.get_text() for tick in axes.get_yticklabels()] == story["sentences"]
        np.testing.assert_allclose(axes.images[0].get_array(), story["gates"])
        assert story["question"] in axes.get_title(loc="left")
    json.dumps(instruments.plain(reading.values), allow_nan=False)


def test_an_attention_lstm_shows_its_past(tmp_path):
    directory = write_recall_run(tmp_path, "attention_lstm")
    _, reading = measure(directory)
    weights = reading.values["layers"][0]["attention"]
    assert reading.values["inputs"] and weights.shape == (len(reading.values["inputs"]),) * 2
    np.testing.assert_allclose(weights.sum(1)[1:], 1, rtol=1e-5)
    assert not np.triu(weights).any() and list(reading.figures) == ["layer1"]
    # It is of slots, however many: no gate of units beside the gates, nor sorted by their time scales.
    gates = instruments.measure(predict.Run(directory), "gates").values["layers"][0]
    assert {"i", "f", "g", "o", "c"} <= set(gates) and "attention" not in gates


def test_a_classifier_shows_the_words_that_its_answer_is_the_mean_of(tmp_path):
    directory = write_label_run(tmp_path)
    config = RunPaths(directory).read_config()
    model = MODEL | {"name": "classifier", "hidden": [4], "pooling": "attention"}
    write_run(directory, config["task"], model)
    run, reading = measure(directory, text="the dog sat")
    weights, words = reading.values["attention"], reading.values["inputs"]
    assert words[:3] == ["the", "dog", "sat"] and weights.shape == (len(words),)
    assert weights.sum() == pytest.approx(1)
    tokens = jnp.asarray(run.encoder.encode("the dog sat").tokens)[:, None]
    outputs = run.model.apply(run.params, tokens, run.model.carry(run.params, 1))
    state = weights @ np.asarray(outputs.hidden[:, 0])
    head = run.params["head"]
    np.testing.assert_allclose(state @ head["w"] + head["b"], outputs.logits[0, 0], rtol=1e-4, atol=1e-5)
    assert reading.lines[-1].startswith(reading.values["said"])


def test_a_run_without_attention_is_left_out(tmp_path):
    for directory in (write_recall_run(tmp_path), write_label_run(tmp_path)):
        taken, left = instruments.chosen(predict.Run(directory), ["all"])
        assert "attention" not in taken and "turns no attention on anything" in left["attention"]


def test_figures_of_what_does_not_fit_are_refused():
    story = attention.Story(["a b", "c"], np.zeros((3, 2)), "d ?", "e", "e")
    with pytest.raises(UserError, match=r"gates \[3, 2\] need a row for each of the 2 sentences"):
        attention.stories_figure([story])
    with pytest.raises(UserError, match="one story or more"):
        attention.stories_figure([])
    with pytest.raises(UserError, match=r"weights \[2\] need as many words, not 1"):
        attention.words_figure(np.ones(2), ["a"])
