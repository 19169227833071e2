"""Whole models by safetensors: what PyTorch computes with them, what comes back, what is refused."""

import json
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from configs import quickstart
from lstm_jax import models, tasks, train
from lstm_jax.compat.safetensors import params_from_file, read_weights, write_params, write_weights
from lstm_jax.errors import UserError
from lstm_jax.metrics import read_result
from lstm_jax.predict import Run, exchange
from lstm_jax.pytrees import named_leaves

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


def test_any_cell_goes_through_our_own_layout(tmp_path):
    config = section("peephole")
    _, params = model_of(config)
    with pytest.raises(UserError, match=r"PyTorch has no cell 'peephole'.*--layout=lstm_jax"):
        write_params(tmp_path / "w.safetensors", params, config)
    write_params(tmp_path / "w.safetensors", params, config, "lstm_jax")
    same(params_from_file(tmp_path / "w.safetensors", params), params)
    with pytest.raises(UserError, match=r"embedding has shape \(11, 6\), and \(11, 7\) is needed"):
        params_from_file(tmp_path / "w.safetensors", model_of({**config, "embedding": 7})[1])


def test_what_does_not_fit_is_refused_by_leaf_and_both_shapes(tmp_path):
    path, (_, params) = tmp_path / "w.safetensors", model_of(section())
    write_params(path, params, section())
    for other, message in (
        (section(hidden=(7, 7)), r"decoder.weight has shape \(11, 5\), and \(11, 7\) is needed"),
        (section(hidden=(H,)), r"rnn: bias_hh_l1, of shape \(20,\), is not part of it"),
        (section("gru"), r"rnn: weight_ih_l0 has shape \(20, 6\), and \(15, 6\) is needed"),
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
        ({**section(), "name": "classifier"}, "the model 'classifier'"),
    ):
        with pytest.raises(UserError, match=message):
            write_params(path, params, config)
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
    train.run(config, str(workdir))
    return workdir


def test_a_model_trained_here_has_the_same_perplexity_in_torch(trained, tmp_path):
    pytest.importorskip("torch")
    from benchmarks import perplexity_in_torch

    run = Run(trained)
    exchange.write_run(run, tmp_path / "w.safetensors")
    corpus = run.task.corpus
    theirs = perplexity_in_torch.perplexity(
        perplexity_in_torch.load(tmp_path / "w.safetensors"), corpus.tokens["valid"], corpus.vocabulary.eos
    )
    ours = read_result(trained)["figures"]["static"]["valid"]["perplexity"]
    assert ours < 97 / 2  # of 97 characters: it has learnt something
    assert theirs == pytest.approx(ours, rel=1e-5)


def test_a_run_goes_into_a_file_and_comes_back(trained, tmp_path):
    run, path = Run(trained), tmp_path / "w.safetensors"
    about = exchange.write_run(run, path).about
    assert about["gates"] == "i,f,g,o" and about["vocabulary_size"] == str(len(run.vocabulary))
    assert json.loads(about["config"]) == run.config
    back = exchange.make_run(path, tmp_path / "back")
    same(back.params, run.params)
    assert (back.step, back.vocabulary, back.config) == (run.step, run.vocabulary, run.config)
    with pytest.raises(UserError, match="back exists already"):
        exchange.make_run(path, tmp_path / "back")
    same(exchange.first_params(str(path), run.params, run.vocabulary), run.params)


def test_a_foreign_file_needs_a_run_to_go_by_and_its_rows_are_put_in_order(trained, tmp_path):
    run, path = Run(trained), tmp_path / "w.safetensors"
    tensors = exchange.write_run(run, path).tensors
    order = np.random.default_rng(0).permutation(len(run.vocabulary))
    rows = ("encoder.weight", "decoder.weight", "decoder.bias")
    write_weights(path, {k: leaf[order] if k in rows else leaf for k, leaf in tensors.items()}, {})
    with pytest.raises(UserError, match="does not say what model it holds: give --like=DIR"):
        exchange.make_run(path, tmp_path / "theirs")
    tokens = [run.vocabulary.tokens[number] for number in order]
    same(exchange.make_run(path, tmp_path / "theirs", run, tokens).params, run.params)
    with pytest.raises(UserError, match=r"its vocabulary of .* lacks"):
        exchange.make_run(path, tmp_path / "no", run, ["?!", *tokens[1:]])
    for cell, message in (
        ({"name": "lstm", "options": "activation=relu"}, "torch.nn.LSTM has no activation=relu, only tanh"),
        ({"name": "capped_lstm"}, "PyTorch has no cell 'capped_lstm'"),  # which has the leaves of one
    ):
        other = run.config | {"model": run.config["model"] | {"cell": run.config["model"]["cell"] | cell}}
        with pytest.raises(UserError, match=message):
            exchange.make_run(path, tmp_path / "no", SimpleNamespace(config=other, paths=run.paths))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["theirs", "w.safetensors"]


def test_training_starts_from_a_file(trained, tmp_path):
    exchange.write_run(Run(trained), tmp_path / "w.safetensors")
    config = small_quickstart()
    config.train.init_from = str(tmp_path / "w.safetensors")
    sections = config.to_dict()
    task = tasks.make_task(**sections["task"], epochs=1, seed=config.seed)
    model = models.make_model(vocab=task.vocab, outputs=task.outputs, **sections["model"])
    same(train.compile_run(config, task, model)[0].params, Run(trained).params)
