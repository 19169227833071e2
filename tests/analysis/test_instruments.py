"""Instruments on small runs of a language model and of a generated task, and the command that takes them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import MODEL, TEXTS, write_label_run, write_recall_run, write_run, write_text_run

from lstm_jax import predict
from lstm_jax.analysis import instruments
from lstm_jax.analysis.instruments import INSTRUMENTS, Options, windows
from lstm_jax.runs.directory import RunPaths, write_json
from lstm_jax.support.errors import UserError

ROOT = Path(__file__).parents[2]
SMALL = Options(tokens=40, max_lag=5)


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    return write_text_run(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def recall_runs(tmp_path_factory):
    """Runs of a generated task, by cell."""
    return {name: write_recall_run(tmp_path_factory.mktemp(name), name) for name in ("lstm", "gru", "elman")}


# ------------------------------------------------------------------ a run as Python


def test_a_run_gives_its_parts(text_run, recall_runs):
    run = predict.Run(text_run)
    assert run.is_language_model and run.step == 17 and run.task.name == "language_model"
    for params, seed in ((run.params, 99), (run.initial_params, 3)):
        jax.tree.map(np.testing.assert_array_equal, params, run.model.init(jax.random.key(seed)))
    other = predict.Run(recall_runs["gru"])
    assert not other.is_language_model and other.task.name == "delayed_recall" and other.task.outputs == 3
    assert sorted(other.traced[0]) == ["n", "r", "z"]
    with pytest.raises(UserError, match="only a language_model can generate"):
        predict.load(recall_runs["gru"])


def test_data_that_lies_elsewhere_now(text_run, tmp_path):
    for split, text in TEXTS.items():
        (tmp_path / f"{split}.txt").write_text(text)
    config = RunPaths(text_run).read_config()
    moved = tmp_path / "run"
    config = {**config, "task": config["task"] | {"data_dir": "/nowhere"}}
    moved.mkdir()
    write_json(moved / "config.json", config)
    with pytest.raises(UserError, match="/nowhere"):
        _ = predict.Run(moved).task
    with pytest.raises(UserError, match="there is no directory /nowhere"):
        predict.Run("/nowhere")
    with pytest.raises(UserError, match="not the directory of a run"):
        predict.Run(tmp_path)
    assert predict.Run(moved, str(tmp_path)).task.outputs == predict.Run(text_run).task.outputs


def test_texts_that_read_otherwise_are_never_measured(tmp_path):
    words, labels = tmp_path / "words", tmp_path / "labels"
    for directory in (words, labels):
        directory.mkdir()
    word_run, label_run = write_text_run(words), write_label_run(labels)
    with open(words / "train.txt", "a") as file:
        file.write("a bird sat\na bird sat\n")
    said = rf"the texts in {words} are not those .* the vocabulary had \d+ tokens and now has \d+"
    with pytest.raises(UserError, match=said):
        instruments.measure_and_write(predict.Run(word_run), "gates", Options(tokens=8))
    for split in ("train", "valid", "test"):
        path = labels / f"{split}.csv"
        path.write_text(path.read_text().replace("<b>", "bird"))
    with pytest.raises(UserError, match="the label 'bird' is new"):
        instruments.measure_and_write(predict.Run(label_run), "confusion")


# ------------------------------------------------------------------ every instrument


def own_axes(figure):
    """The axes with data, each with the labels that a reader sees at them (shared ones stand at the edge)."""
    shown = [axes for axes in figure.axes if axes.get_visible() and axes.has_data()]
    return [axes for axes in shown if axes.get_label() != "<colorbar>"]


@pytest.mark.parametrize("name", INSTRUMENTS)
@pytest.mark.parametrize("kind", ["text", "recall"])
def test_leaves_figures_with_named_axes_and_numbers(name, kind, text_run, recall_runs, tmp_path):
    run = predict.Run(text_run if kind == "text" else recall_runs["lstm"])
    if INSTRUMENTS[name].unsupported(run):
        pytest.skip(f"does not fit: {INSTRUMENTS[name].unsupported(run)}")
    raised = []
    measurement = INSTRUMENTS[name].measure(run, SMALL, lambda done, total: raised.append((done, total)))
    assert all(0 <= done <= total for done, total in raised) and (
        not raised or raised[-1][0] == raised[-1][1]
    )
    for figure in measurement.figures.values():
        axes = own_axes(figure)
        assert any(one.get_xlabel() for one in axes)
        assert any(one.get_ylabel() for one in axes) or figure.get_supylabel()
    assert INSTRUMENTS[name].what and measurement.figures
    json.dumps(instruments.plain(measurement.values), allow_nan=False)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", INSTRUMENTS)
def test_reads_every_split_of_a_memory_task(name, split, recall_runs):
    run = predict.Run(recall_runs["lstm"])
    if INSTRUMENTS[name].unsupported(run):
        pytest.skip(f"does not fit: {INSTRUMENTS[name].unsupported(run)}")
    options = Options(tokens=40, max_lag=5, lengths=(3,), split=split)
    measurement = INSTRUMENTS[name].measure(run, options, lambda *_: None)
    assert measurement.figures and measurement.values.get("split", split) == split


def test_take_writes_whole_files_and_what_they_are_of(text_run, tmp_path):
    run = predict.Run(text_run)
    written = instruments.measure_and_write(
        run, "gates", Options(tokens=20, text="the zebra sat"), out=tmp_path / "a" / "b"
    )
    names = ["gates-layer1.png", "gates-layer2.png", "gates.json"]
    assert [path.name for path in written.files] == names
    data = ["gates-layer1.csv", "gates-layer2.csv"]
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == sorted(names + data)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written.files[:2])
    found = json.loads(written.files[2].read_text())
    assert found["instrument"] == "gates" and found["step"] == 17 and found["options"]["tokens"] == 20
    assert found["inputs"] == ["<eos>", "the", "(zebra)", "sat"]
    assert any("not in the vocabulary" in line for line in written.lines)
    assert not (text_run / "analysis").exists()
    instruments.measure_and_write(run, "saturation", SMALL)
    assert (text_run / "analysis" / "saturation.json").is_file()


def test_plain():
    value = {"a": np.arange(2), 3: (jnp.float32(0.1), None, True), "b": [float("inf"), float("nan"), 1 / 3]}
    expected = {"a": [0, 1], "3": [0.1, None, True], "b": [None, None, 0.333333]}
    assert instruments.plain(value) == expected
    with pytest.raises(TypeError, match="cannot be stored"):
        instruments.plain({"f": print})


# ------------------------------------------------------------------ what they measure


def test_time_scales_are_those_of_the_gates_over_the_whole_text(text_run):
    """However the text is cut into windows: as from one pass over it."""
    run = predict.Run(text_run)
    tokens = run.task.corpus.tokens["valid"]
    inputs = jnp.asarray(np.concatenate([[run.vocabulary.eos], tokens[:-1]]))[:, None]
    traces = run.model.apply(run.params, inputs, run.model.carry(run.params, 1)).traces
    found = INSTRUMENTS["timescales"].measure(run, Options(), lambda *_: None).values
    assert found["steps_read"] == len(tokens)
    for trace, layer in zip(traces, found["layers"], strict=True):
        f = np.asarray(trace["f"], np.float64)[:, 0]
        np.testing.assert_allclose(layer["trained"]["product"]["units"], -1 / np.log(f).mean(0), rtol=1e-5)
        np.testing.assert_allclose(layer["trained"]["mean"]["units"], -1 / np.log(f.mean(0)), rtol=1e-5)
        saturated = INSTRUMENTS["saturation"].measure(run, Options(), lambda *_: None).values["layers"]
    np.testing.assert_allclose(saturated[1]["f"]["high"], (f > 0.9).mean(0), rtol=1e-6)


def test_only_as_much_is_read_as_was_asked_for(text_run):
    run = predict.Run(text_run)
    total = windows.add_up(
        run, run.params, "valid", 9, lambda outputs, batch, real: real.sum(dtype=jnp.float32), lambda *_: None
    )
    assert total.steps == 16 and total.sums == 16  # two windows of eight


def test_gates_are_those_of_the_sentence(text_run):
    run = predict.Run(text_run)
    measurement = INSTRUMENTS["gates"].measure(run, Options(text="the dog", tokens=20), lambda *_: None)
    eos, *words = run.vocabulary.eos, *run.vocabulary.encode("the dog")
    inputs = jnp.asarray([eos, *words])[:, None]
    traces = run.model.apply(run.params, inputs, run.model.carry(run.params, 1)).traces
    for index, (trace, layer) in enumerate(zip(traces, measurement.values["layers"], strict=True)):
        for name in "ifgoc":
            np.testing.assert_allclose(layer[name]["mean_by_step"], trace[name][:, 0].mean(1), rtol=1e-5)
        image = measurement.figures[f"layer{index + 1}"].axes[1].images[0].get_array()
        order = np.argsort(layer["time_scale"])
        np.testing.assert_allclose(image, np.asarray(trace["f"])[:, 0][:, order].T, rtol=1e-5)


def test_lags_of_a_text_and_of_a_task(text_run, recall_runs):
    run = predict.Run(text_run)
    found = INSTRUMENTS["lags"].measure(run, SMALL, lambda *_: None).values["trained"]
    assert found["gradient_by_lag"].shape == (6,) and found["gradient_by_lag"][0] == 1
    stretches = min((len(run.task.corpus.tokens["valid"]) - 1) // 15, 40 // 15)
    assert found["samples"].tolist() == [5 * stretches] * 6
    recall = predict.Run(recall_runs["lstm"])
    found = INSTRUMENTS["lags"].measure(recall, Options(tokens=40), lambda *_: None).values["trained"]
    assert found["gradient_by_lag"].shape == (8,)  # the answer's step and the seven before it
    assert found["samples"].tolist() == [6] * 8  # one loss a sequence
    batch = recall.task.batch(recall.task.data, "valid", 0, 0)
    model, params = recall.model, recall.params

    def losses(embedded):
        logits = model.apply(params, embedded, model.carry(params, 3)).logits
        return recall.task.loss(logits, batch)[-1].sum()

    one = np.linalg.norm(jax.grad(losses)(params["embedding"][batch.inputs]), axis=-1)  # of the first batch
    other = recall.task.batch(recall.task.data, "valid", 1, 0)
    batch = other
    two = np.linalg.norm(jax.grad(losses)(params["embedding"][other.inputs]), axis=-1)
    expected = np.concatenate([one, two], axis=1)[::-1].mean(1)
    np.testing.assert_allclose(found["gradient_by_lag"], expected / expected[0], rtol=1e-5)


def test_lags_of_a_stream_start_from_what_the_window_before_left(tmp_path):
    task = {"name": "continual_reber", "length": 6, "window": 7, "batch": 2, "epoch_steps": 2}
    task |= {"eval_batch": 2, "eval_steps": 3}
    model = MODEL | {"hidden": [4], "cell": {"name": "lstm", "forget_bias": "3"}}
    run = predict.Run(write_run(tmp_path / "run", task, model))
    found = INSTRUMENTS["lags"].measure(run, Options(tokens=42), lambda *_: None).values["trained"]
    model, params = run.model, run.params
    carry, norms = model.carry(params, 2), []
    for step in range(3):
        batch = run.task.batch(run.task.data, "valid", step, 0)

        def loss(embedded, t, carry=carry, batch=batch):
            return run.task.loss(model.apply(params, embedded, carry).logits, batch)[t].sum()

        embedded = params["embedding"][batch.inputs]
        norms += [np.linalg.norm(jax.grad(loss)(embedded, t)[t], axis=-1) for t in range(7)]
        carry = model.apply(params, embedded, carry).carry
    np.testing.assert_allclose(found["at_lag_0"], np.mean(norms), rtol=1e-5)


# ------------------------------------------------------------------ what does not fit


def test_all_takes_what_fits_and_says_what_does_not(recall_runs):
    taken, left = instruments.chosen(predict.Run(recall_runs["gru"]), ["all"])
    assert {"gates", "saturation", "lags"} <= set(taken)
    assert left["timescales"] == "the cell 'gru' has no gate 'f': it has n, r, z"
    taken, left = instruments.chosen(predict.Run(recall_runs["elman"]), ["all"])
    assert "lags" in taken and {"gates", "timescales", "saturation"} <= set(left)
    assert all("no gates at all" in left[name] for name in ("gates", "timescales", "saturation"))


def test_a_model_that_is_not_recurrent(tmp_path):
    task = {"name": "questions", "length": 2, "batch": 2, "eval_batch": 2, "eval_steps": 1}
    model = {"name": "dynamic_memory", "hidden": [3], "embedding": 2, "episodes": 2, "cell": {}}
    run = predict.Run(write_run(tmp_path / "run", task, model))
    taken, left = instruments.chosen(run, ["all"])
    assert "saturation" in taken
    assert left["timescales"].startswith("the model 'dynamic_memory' has no gate 'f': it has ")
    assert left["lags"] == "the model 'dynamic_memory' reads tokens alone, and no embeddings in their place"
    assert instruments.measure_and_write(run, "saturation", SMALL).lines


def test_what_cannot_be_measured(text_run, recall_runs, tmp_path):
    run, recall = predict.Run(text_run), predict.Run(recall_runs["gru"])
    with pytest.raises(UserError, match="unknown instrument 'timescale': did you mean 'timescales'"):
        instruments.chosen(run, ["timescale"])
    with pytest.raises(UserError, match="which instruments"):
        instruments.chosen(run, [""])
    with pytest.raises(UserError, match=r"'timescales' does not fit.*'gru' has no gate 'f': it has n, r, z"):
        instruments.measure_and_write(recall, "timescales")
    with pytest.raises(UserError, match="reads no text"):
        instruments.measure_and_write(recall, "gates", Options(text="the cat"), out=tmp_path)
    with pytest.raises(UserError, match="has no tokens"):
        instruments.measure_and_write(run, "gates", Options(text="  "), out=tmp_path)
    with pytest.raises(UserError, match="no more than 79"):
        instruments.measure_and_write(run, "gates", Options(text="cat " * 80), out=tmp_path)
    with pytest.raises(UserError, match=r"test split has 4 tokens.*try --max_lag=1"):
        instruments.measure_and_write(run, "lags", Options(split="test"), out=tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make"):
        instruments.measure_and_write(run, "gates", SMALL, out=tmp_path / "file")


@pytest.mark.parametrize("wrong", [{"split": "dev"}, {"tokens": 0}, {"max_lag": 0}, {"seed": -1}], ids=str)
def test_options_out_of_range(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        Options(**wrong)


# ------------------------------------------------------------------ the command


def command(*arguments, status=0):
    done = subprocess.run(
        [sys.executable, ROOT / "experiments" / "analyze.py", *arguments],
        capture_output=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        text=True,
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def test_the_command_writes_prints_and_tells_what_it_left_out(recall_runs, tmp_path):
    out, _ = command(
        f"--run={recall_runs['gru']}", "--what=all", "--tokens=20", "--max_lag=4", f"--out={tmp_path}"
    )
    assert f"saturation: {tmp_path}/saturation.png, {tmp_path}/saturation.json" in out
    assert "left out timescales: the cell 'gru' has no gate 'f': it has n, r, z" in out
    assert json.loads((tmp_path / "lags.json").read_text())["options"]["max_lag"] == 4


def test_errors_are_one_line(recall_runs):
    for arguments, message in (
        (["--run=.", "--tokens=0"], "tokens=0 must be 1 or more"),
        ([f"--run={recall_runs['gru']}", "--what=lag"], "unknown instrument 'lag': did you mean 'lags'"),
    ):
        out, raised = command(*arguments, status=2)
        assert (
            out == "" and len(raised.splitlines()) == 1 and raised.startswith("error: ") and message in raised
        )


def test_help_names_instruments_and_flags():
    out, _ = command("--help")
    assert all(f"  {name} " in out for name in INSTRUMENTS)
    assert all(f"--{flag}:" in out for flag in ("run", "what", *Options.__dataclass_fields__))
