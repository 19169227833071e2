"""Whole models by safetensors: what PyTorch computes with them, what comes back, what is refused."""

import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import write_label_run, write_text_run

from configs import base, quickstart
from lstm_jax import models, predict, tasks
from lstm_jax.compat.safetensors import params_from_file, read_weights, write_params, write_weights
from lstm_jax.corpora import Encoder, Vocabulary
from lstm_jax.predict import Classifier, Run, text_encoding, weights_io
from lstm_jax.runs.metrics import read_result
from lstm_jax.support.errors import UserError
from lstm_jax.support.pytrees import named_leaves
from lstm_jax.training import loop

pytest.importorskip("safetensors", reason="pip install -e '.[interchange]'")
V, E, H = 11, 6, 5


def section(cell="lstm", *, hidden=(H, H), tied=False, **fields):
    return {
        "name": "recurrent",
        "hidden": hidden,
        "embedding": hidden[-1] if tied else E,
        "tied": tied,
        "cell": {"name": cell, "init": "uniform(0.5)", **fields},
    }


def model_of(section):
    model = models.make_model(vocab=V, outputs=V, **section)
    return model, model.init(jax.random.key(0))


def same(one, other):
    one, other = named_leaves(one), named_leaves(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "elman", "irnn", "projected_lstm"])
def test_a_model_computes_the_same_in_torch_and_comes_back_exactly(tmp_path, cell, tied):
    torch = pytest.importorskip("torch")
    from benchmarks import perplexity_in_torch
    from lstm_jax.compat.torch import module_of

    if tied and cell == "projected_lstm":
        pytest.skip("its output is half as wide as its state")
    config = section(cell, tied=tied)
    model, params = model_of(config)
    module, options = module_of(config["cell"])
    about = {"module": f"torch.nn.{module}({', '.join(f'{k}={v}' for k, v in options.items())})"}
    write_params(tmp_path / "w.safetensors", params, config, about=about)
    same(params_from_file(tmp_path / "w.safetensors", params), params)

    theirs = perplexity_in_torch.load(tmp_path / "w.safetensors")
    tokens = jax.random.randint(jax.random.key(1), (7, 3), 0, V)
    ys, _ = theirs.rnn(theirs.encoder(torch.tensor(np.asarray(tokens), dtype=torch.int64)))
    ours = model.apply(params, tokens, model.carry(params, 3))
    np.testing.assert_allclose(ours.logits, theirs.decoder(ys).detach(), rtol=1e-6, atol=1e-6)


def test_a_tied_file_may_have_one_of_the_two_and_not_two_that_differ(tmp_path):
    config = section(tied=True)
    _, params = model_of(config)
    path = tmp_path / "w.safetensors"
    write_params(path, params, config)
    tensors = read_weights(path).tensors
    for name in ("encoder.weight", "decoder.weight"):
        write_weights(path, {key: leaf for key, leaf in tensors.items() if key != name}, {})
        same(params_from_file(path, params), params)
    write_weights(path, tensors | {"decoder.weight": tensors["decoder.weight"] + 1}, {})
    with pytest.raises(
        UserError, match=r"encoder.weight \(11, 5\) and decoder.weight \(11, 5\) differ.*tied"
    ):
        params_from_file(path, params)


def test_frozen_biases_go_through_our_own_layout(tmp_path):
    config = section(forget_bias_trainable=False, forget_bias="chrono(9)")
    _, params = model_of(config)
    write_params(tmp_path / "w.safetensors", params, config, "lstm_jax")
    same(params_from_file(tmp_path / "w.safetensors", params), params)


def test_any_cell_goes_through_our_own_layout(tmp_path):
    config = section("peephole")
    _, params = model_of(config)
    with pytest.raises(UserError, match=r"PyTorch has no cell 'peephole'.*--layout=lstm_jax"):
        write_params(tmp_path / "w.safetensors", params, config)
    write_params(tmp_path / "w.safetensors", params, config, "lstm_jax")
    same(params_from_file(tmp_path / "w.safetensors", params), params)
    with pytest.raises(UserError, match=r"embedding has shape \(11, 6\), and \(11, 7\) is needed"):
        params_from_file(tmp_path / "w.safetensors", model_of({**config, "embedding": 7})[1])


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("float64", 1e300, "float64, and 1 of its 66 are not finite as float32"),
        ("float32", np.nan, "float32, and 1 of its 66 are not finite as float32"),
        ("float16", -np.inf, "float16, and 1 of its 66 are not finite as float32"),
        ("float64", 1.5, None),
        ("float16", 1.5, None),
        ("bfloat16", 1.5, None),
        ("int32", 1, "int32; weights are floating-point numbers"),
        ("bool", True, "bool; weights are floating-point numbers"),
        ("complex64", 1, "complex64; weights are floating-point numbers"),
    ],
)
@pytest.mark.parametrize("layout", ["torch", "lstm_jax"])
def test_what_is_cast_and_what_is_not(tmp_path, layout, dtype, value, message):
    path, name = tmp_path / "w.safetensors", {"torch": "encoder.weight", "lstm_jax": "embedding"}[layout]
    _, params = model_of(section(hidden=(H,)))
    write_params(path, params, section(hidden=(H,)), layout)
    file = read_weights(path)
    changed = file.tensors[name].astype(jnp.dtype(dtype))
    changed[0, 0] = value
    file.tensors[name] = changed
    if message is None:
        embedding = params_from_file(file, params)["embedding"]
        assert embedding.dtype == np.float32
        np.testing.assert_array_equal(embedding, np.float32(changed))
        return
    with pytest.raises(UserError, match=f"{path}: {name} is {message}"):
        params_from_file(file, params)
    if dtype == "float32":  # what cannot be read is not written either
        broken = params | {"embedding": changed}
        with pytest.raises(UserError, match=f"{name} is {message}"):
            write_params(path, broken, section(hidden=(H,)), layout)


def test_what_does_not_fit_is_refused_by_leaf_and_both_shapes(tmp_path):
    path, (_, params) = tmp_path / "w.safetensors", model_of(section())
    write_params(path, params, section())
    for other, message in (
        (section(hidden=(7, 7)), r"decoder.weight has shape \(11, 5\), and \(11, 7\) is needed"),
        (section(hidden=(H,)), r"rnn: bias_hh_l1, of shape \(20,\), is not part of it"),
        (section("gru"), r"rnn: weight_ih_l0 has shape \(20, 6\), and \(15, 6\) is needed"),
        (
            {**section(), "name": "classifier", "pooling": "attention"},
            "a model with attention, .* is none of",
        ),
        (section("peephole"), r"a layer with the leaves b, peephole, w_h, w_x is none of PyTorch's"),
        (section(forget_bias_trainable=False), r"layers/0/b_fixed: PyTorch has no frozen biases"),
    ):
        with pytest.raises(UserError, match=message):
            params_from_file(path, model_of(other)[1])
    for config, message in (
        (
            section(options="gate_activation=hard_sigmoid"),
            "torch.nn.LSTM has no gate_activation=hard_sigmoid",
        ),
        (section("gru", options="activation=relu"), "torch.nn.GRU has no activation=relu, only tanh"),
        ({**section(), "dropout": {"zoneout_cell": 0.1}}, "PyTorch has no zoneout"),
        (section(forget_bias_trainable=False), "layers/0/b_fixed: PyTorch has no frozen biases"),
        ({**section(), "name": "classifier"}, "the model 'classifier'"),
    ):
        with pytest.raises(UserError, match=message):
            write_params(path, params if config.get("name") == "classifier" else model_of(config)[1], config)
    write_weights(path, {"encoder.weight": np.zeros((V, E), np.int32)}, {})
    with pytest.raises(UserError, match=r"decoder.weight is missing; it should have shape \(11, 5\)"):
        params_from_file(path, params)
    path.write_bytes(b"not at all")
    for bad, message in ((path, "is not a safetensors file"), (tmp_path / "none", "cannot read .*none")):
        with pytest.raises(UserError, match=message):
            params_from_file(bad, params)


def small_quickstart():
    config = quickstart.get_config()
    config.model.update(hidden=(8, 8), embedding=8)
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A few steps of the quickstart: characters of the text that Python brings along."""
    config = small_quickstart()
    config.train.update(epochs=1, eval_every=8, tensorboard=False, patience=1)
    config.task.update(batch=256, window=32)
    config.evaluate.sample = 0
    workdir = tmp_path_factory.mktemp("quick") / "run"
    loop.run(config, str(workdir))
    return workdir


def test_a_model_trained_here_has_the_same_perplexity_in_torch(trained, tmp_path):
    pytest.importorskip("torch")
    from benchmarks import perplexity_in_torch

    run = Run(trained)
    weights_io.write_run_weights(run, tmp_path / "w.safetensors")
    corpus = run.task.corpus
    theirs = perplexity_in_torch.perplexity(
        perplexity_in_torch.load(tmp_path / "w.safetensors"), corpus.tokens["valid"], corpus.vocabulary.eos
    )
    ours = read_result(trained)["figures"]["static"]["valid"]["perplexity"]
    assert ours < 97 / 2  # of 97 characters: it has learnt something
    assert theirs == pytest.approx(ours, rel=1e-5)


def test_a_run_goes_into_a_file_and_comes_back(trained, tmp_path):
    run, path = Run(trained), tmp_path / "w.safetensors"
    about = weights_io.write_run_weights(run, path).about
    assert about["gates"] == "i,f,g,o" and about["vocabulary_size"] == str(len(run.vocabulary))
    assert json.loads(about["config"]) == run.config
    back = weights_io.run_from_weights(path, tmp_path / "back")
    same(back.params, run.params)
    assert (back.step, back.vocabulary, back.config) == (run.step, run.vocabulary, run.config)
    with pytest.raises(UserError, match="back exists already"):
        weights_io.run_from_weights(path, tmp_path / "back")
    same(weights_io.load_init_params(str(path), run.params, run.vocabulary), run.params)


def test_a_foreign_file_needs_a_run_to_go_by_and_its_rows_are_put_in_order(trained, tmp_path):
    run, path = Run(trained), tmp_path / "w.safetensors"
    tensors = weights_io.write_run_weights(run, path).tensors
    order = np.random.default_rng(0).permutation(len(run.vocabulary))
    rows = ("encoder.weight", "decoder.weight", "decoder.bias")
    write_weights(path, {k: leaf[order] if k in rows else leaf for k, leaf in tensors.items()}, {})
    with pytest.raises(UserError, match="does not say what model it holds: give --like=DIR"):
        weights_io.run_from_weights(path, tmp_path / "theirs")
    tokens = [run.vocabulary.tokens[number] for number in order]
    same(weights_io.run_from_weights(path, tmp_path / "theirs", run, tokens).params, run.params)
    with pytest.raises(UserError, match=r"its vocabulary of .* lacks"):
        weights_io.run_from_weights(path, tmp_path / "no", run, ["?!", *tokens[1:]])
    for cell, message in (
        ({"name": "lstm", "options": "activation=relu"}, "torch.nn.LSTM has no activation=relu, only tanh"),
        ({"name": "capped_lstm"}, "PyTorch has no cell 'capped_lstm'"),  # which has the leaves of one
    ):
        other = run.config | {"model": run.config["model"] | {"cell": run.config["model"]["cell"] | cell}}
        with pytest.raises(UserError, match=message):
            weights_io.run_from_weights(path, tmp_path / "no", SimpleNamespace(config=other, paths=run.paths))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["theirs", "w.safetensors"]


def test_training_starts_from_a_file(trained, tmp_path):
    weights_io.write_run_weights(Run(trained), tmp_path / "w.safetensors")
    config = small_quickstart()
    config.train.init_from = str(tmp_path / "w.safetensors")
    sections = config.to_dict()
    task = tasks.make_task(**sections["task"], epochs=1, seed=config.seed)
    model = models.make_model(vocab=task.vocab, outputs=task.outputs, **sections["model"])
    same(loop.compile_run(config, task, model)[0].params, Run(trained).params)


# ------------------------------------------------------------------ what the rows stand for


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    return write_label_run(tmp_path_factory.mktemp("labels"))


def copy_of(directory, root, **changes) -> Run:
    """A run with the same config, and other fields in its vocabulary; it has no parameters."""
    root.mkdir()
    (root / "config.json").write_bytes((directory / "config.json").read_bytes())
    fields = json.loads((directory / "vocabulary.json").read_text())
    (root / "vocabulary.json").write_text(json.dumps(fields | changes))
    return Run(root)


def test_a_classifiers_labels_are_put_in_order(labelled, tmp_path):
    run, path = Run(labelled), tmp_path / "w.safetensors"
    weights_io.write_run_weights(run, path, "lstm_jax")
    like = copy_of(labelled, tmp_path / "like", labels=[*reversed(run.encoder.labels)])
    turned = weights_io.run_from_weights(path, tmp_path / "turned", like)
    assert turned.encoder.labels == run.encoder.labels[::-1]
    texts = ["the cat sat", "dog"]
    for one, other in zip(Classifier(run).predict(texts), Classifier(turned).predict(texts), strict=True):
        assert one.label == other.label
        assert one.probabilities == pytest.approx(other.probabilities, rel=1e-6)
    same(weights_io.load_init_params(str(path), run.params, turned.encoder), turned.params)
    same(weights_io.load_init_params(str(labelled), run.params, turned.encoder), turned.params)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"labels": ["cold", "hot", "warm"]},
            "are <b>, cat, dog, and those of the run cold, hot, warm",
        ),
        ({"lower": True}, "read with lower=False, and those of the run with lower=True"),
        ({"splitter": "whitespace"}, "splitter=punctuation, and those of the run with splitter=whitespace"),
        ({"longest": 9}, "longest=6, and those of the run with longest=9"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_a_classifier_of_other_labels_or_readings_is_refused(labelled, tmp_path, changes, message):
    weights_io.write_run_weights(Run(labelled), tmp_path / "w.safetensors", "lstm_jax")
    like = copy_of(labelled, tmp_path / "like", **changes)
    with pytest.raises(UserError, match=message):
        weights_io.run_from_weights(tmp_path / "w.safetensors", tmp_path / "made", like)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["like", "w.safetensors"]
    for source in (tmp_path / "w.safetensors", labelled):
        if "longest" in changes:  # training may go on with longer texts
            weights_io.load_init_params(str(source), Run(labelled).params, like.encoder)
            continue
        with pytest.raises(UserError, match=message):
            weights_io.load_init_params(str(source), Run(labelled).params, like.encoder)


def test_training_a_classifier_compares_the_words(labelled, tmp_path):
    other = Path(write_label_run(tmp_path, ("cat", "dog", "<c>")))
    config = base.get_config()
    with config.unlocked():
        for section, values in Run(other).config.items():
            config[section] = config[section].to_dict() | values if isinstance(values, dict) else values
    config.train.init_from = str(labelled)
    run = Run(other)
    with pytest.raises(UserError, match="its vocabulary of 15 tokens lacks 'c'"):
        loop.compile_run(config, run.task, run.model)


def test_as_many_labels_as_tokens_are_not_taken_for_tokens():
    tokens, labels = ("<pad>", "a", "<unk>"), ("x", "y", "z")
    theirs, ours = (Encoder(Vocabulary(t, "whitespace"), labels, False, 9) for t in (tokens, tokens[::-1]))
    params = {"embedding": np.arange(3.0)[:, None], "head": {"w": np.arange(3.0)[None], "b": np.arange(3.0)}}
    found = text_encoding.reorder_rows(params, theirs, ours, "file")
    same(found, params | {"embedding": params["embedding"][::-1]})
    with pytest.raises(UserError, match="task=text_classification, and those of the run with task=lang"):
        text_encoding.reorder_rows(params, theirs, ours.vocabulary, "file")


def test_tokens_of_rows_are_a_files_lines_or_a_vocabulary(labelled, tmp_path):
    path, tokens = tmp_path / "tokens.txt", ("{", "a\x85b", "c\u2028d", "e\rf", "\x0c", "", "g")
    for content in ("\n".join(tokens), "\r\n".join(tokens) + "\r\n"):
        for mark in ("", "\ufeff"):
            path.write_bytes((mark + content).encode())
            assert text_encoding.read_tokens(path) == tokens
    assert text_encoding.read_tokens(labelled / "vocabulary.json") == Run(labelled).encoder.vocabulary.tokens
    for wrong in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(UserError, match="cannot read the vocabulary"):
            text_encoding.read_tokens(wrong)


# ------------------------------------------------------------------ files and places that are no good


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": "abc"}, "the metadata 'step' is 'abc'"),
        ({"step": "-1"}, "the metadata 'step' is '-1'"),
        ({"config": "{"}, "the metadata 'config' is not JSON"),
        ({"config": "[]"}, "'config' is no config of a run: no task.name"),
        ({"config": "{}"}, "'config' is no config of a run: no task.name"),
        ({"config": '{"model": "x"}'}, "'config' is no config of a run: no task.name"),
        ({"config": '{"task": {"name": "copy"}, "model": "x"}'}, "no config of a run: no model.hidden"),
        (
            {"config": '{"task": {"name": "text_classification"}, "model": {"hidden": "x", "cell": 3}}'},
            "no model can be made from its metadata",
        ),
        ({"vocabulary": "[]"}, "the metadata 'vocabulary' is not a vocabulary: expected the format"),
        ({"tokens": 3}, "the metadata 'vocabulary' is not a vocabulary: its tokens are no list of texts"),
        ({"tokens": ["a", 3]}, "the metadata 'vocabulary' is not a vocabulary: its tokens are no list"),
        ({"splitter": []}, "unknown splitter"),
        ({"labels": "cat"}, "is not a classifier's vocabulary: its labels are no list of texts"),
        ({"labels": ["a", "b", "a"]}, "is not a classifier's vocabulary: it has a label twice"),
        (
            {"longest": "9"},
            "is not a classifier's vocabulary: lower=False must be true or false, longest='9'",
        ),
    ],
    ids=lambda value: str(value)[:25],
)
def test_metadata_that_say_nothing(labelled, tmp_path, changes, message):
    path = tmp_path / "w.safetensors"
    file = weights_io.write_run_weights(Run(labelled), path, "lstm_jax")
    vocabulary = json.loads(file.about["vocabulary"])
    fields = {name: value for name, value in changes.items() if name in vocabulary}
    about = file.about | {"vocabulary": json.dumps(vocabulary | fields)}
    write_weights(path, file.tensors, about | {k: v for k, v in changes.items() if k not in fields})
    with pytest.raises(UserError, match=message) as caught:
        weights_io.run_from_weights(path, tmp_path / "deep" / "made")
    assert str(path) in str(caught.value) or "splitter" in changes
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.safetensors"]


def test_places_where_no_run_can_be_made(labelled, tmp_path):
    path = tmp_path / "w.safetensors"
    weights_io.write_run_weights(Run(labelled), path, "lstm_jax")
    (tmp_path / "loop").symlink_to("loop")
    for target, message in (
        (path, "exists already"),
        (path / "x", "cannot make .*x: .*; choose another directory"),
        (Path("/proc/nowhere/x"), "cannot make /proc/nowhere/x: .*; choose another directory"),
        (tmp_path / "loop", "cannot make .*loop: .*; choose another directory"),
    ):
        with pytest.raises(UserError, match=message):
            weights_io.run_from_weights(path, target)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["loop", "w.safetensors"]


def test_a_link_stands_for_what_it_names(labelled, tmp_path):
    path = tmp_path / "w.safetensors"
    weights_io.write_run_weights(Run(labelled), path, "lstm_jax")
    (tmp_path / "empty").mkdir()
    for name in ("empty", "none"):
        (tmp_path / "link").symlink_to(name)
        same(weights_io.run_from_weights(path, tmp_path / "link").params, Run(labelled).params)
        assert (tmp_path / name / "config.json").is_file() and (tmp_path / "link").is_symlink()
        (tmp_path / "link").unlink()


def test_a_language_model_is_pickled_by_its_directory(tmp_path):
    found = predict.load(write_text_run(tmp_path))
    back = pickle.loads(pickle.dumps(found))
    assert back.generate("the", 5, seed=1) == found.generate("the", 5, seed=1)
    with pytest.raises(TypeError, match="read from a run's directory"):
        pickle.dumps(predict.LanguageModel(found.model, found.params, found.vocabulary))
