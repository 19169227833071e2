"""Every config file and variant: its fields, its model, its command; and the defaults against the code's."""

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import pytest
from conftest import ROOT
from ml_collections import ConfigDict

from configs import base, pytorch_examples, zaremba
from lstm_jax import cells, models
from lstm_jax.support.errors import UserError
from lstm_jax.training import objective, optim

VARIANTS = {
    "adam_tied": [None],
    "awd": [None, "train", "finetune"],
    "pytorch_examples": [
        None,
        *(width + tied for width in pytorch_examples.DROPOUT for tied in ("", ",tied")),
    ],
    "quickstart": [None],
    "zaremba": [None, *zaremba.VARIANTS],
}
"""Variants by config file; None is the file without one."""
FILES = sorted(p.stem for p in (ROOT / "configs").glob("*.py") if p.stem not in ("atlas", "base", "__init__"))
CASES = [(name, variant) for name in FILES for variant in VARIANTS.get(name, [None])]


def module(name: str) -> Any:
    return importlib.import_module(f"configs.{name}")


def load(name: str, variant: str | None) -> ConfigDict:
    get = module(name).get_config
    return get() if variant is None else get(variant)


def fields(config: ConfigDict, above: str = "") -> dict[str, type]:
    """Type of every field by its dotted name."""
    found: dict[str, type] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            found |= fields(value, f"{above}{name}.")
        else:
            found[above + name] = type(value)
    return found


def test_the_variants_tested_are_those_of_the_files():
    assert sorted(VARIANTS) == FILES
    for name in FILES:
        takes_one = "variant" in inspect.signature(module(name).get_config).parameters
        assert takes_one == (len(VARIANTS[name]) > 1), name


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_no_field_is_added_removed_or_of_another_type(name, variant):
    assert fields(load(name, variant)) == fields(base.get_config())


@functools.cache
def parameters(name: str, variant: str | None) -> dict[str, Any]:
    vocab = 97 if name == "quickstart" else 10_000
    model = models.make_model(outputs=vocab, vocab=vocab, **load(name, variant).model)
    return jax.eval_shape(model.init, jax.random.key(0))


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_the_model_builds(name, variant):
    model, params = load(name, variant).model, parameters(name, variant)
    assert params["embedding"].shape == (97 if name == "quickstart" else 10_000, model.embedding)
    assert [layer["w_h"].shape[-1] for layer in params["layers"]] == list(model.hidden)
    assert ("w" in params["head"]) != model.tied


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_the_optimizer_and_its_schedule_build(name, variant):
    config, params = load(name, variant), parameters(name, variant)
    penalties = {field: config.objective[field] for field in ("l1", "l2", "penalty", "penalty_mask")}
    optimizer = optim.build(params, **config.optim, **penalties)
    state = jax.eval_shape(optimizer.init, params)
    assert "learning_rate" in state.hyperparams
    epochs = config.train.epochs
    last = optim.learning_rate(epochs - 1, [1.0] * epochs, epochs, **config.optim)
    assert 0 < last <= config.optim.learning_rate


@pytest.mark.parametrize("name", FILES)
def test_the_docstring_has_a_command_whose_files_and_variant_exist(name):
    commands = re.findall(
        r"python (experiments/\S+) --config=(configs/(\w+)\.py)(?::(\S+))?", module(name).__doc__
    )
    assert commands
    for script, file, config, variant in commands:
        assert (ROOT / script).is_file()
        assert (ROOT / file).is_file()
        assert config == name
        assert (variant or None) in VARIANTS[name]


@pytest.mark.parametrize("name", [n for n in FILES if len(VARIANTS[n]) > 1])
@pytest.mark.parametrize("variant", ["no_such_variant", "200,tide"])
def test_an_unknown_variant_is_refused_with_those_allowed(name, variant):
    with pytest.raises(UserError, match="allowed: "):
        load(name, variant)


EXEMPT = {
    # The library's optimizer does nothing that it was not asked for; an experiment with an LSTM clips.
    ("build", "clip"),
    # recurrent takes what it leaves out from DROPOUT and from the cell's own defaults, compared below.
    ("recurrent", "dropout"),
    ("recurrent", "cell"),
}
"""(function, field): where the config's default may differ from the signature's."""


def different(section: Mapping[str, Any], function: Callable) -> dict[str, tuple[Any, Any]]:
    """Field -> (config's default, signature's default) where both have one and they differ."""
    signature = inspect.signature(function).parameters
    shared = {
        field: (value, signature[field].default)
        for field, value in section.items()
        if field in signature and signature[field].default is not inspect.Parameter.empty
    }
    assert shared, "nothing was compared"
    return {
        field: pair
        for field, pair in shared.items()
        if pair[0] != pair[1] and (function.__name__, field) not in EXEMPT
    }


@pytest.mark.parametrize(
    ("section", "function"),
    [
        ("model", models.recurrent),
        ("model", models.make_model),
        ("objective", objective.loss),
        ("optim", optim.build),
        ("optim", optim.learning_rate),
    ],
    ids=lambda v: getattr(v, "__name__", v),
)
def test_a_default_of_the_config_is_the_default_of_the_function(section, function):
    assert different(base.get_config()[section], function) == {}


def test_the_defaults_of_dropout_and_of_the_cell():
    model = base.get_config().model
    assert model.dropout.to_dict() == models.DROPOUT
    cell = model.cell.to_dict()
    assert cell.pop("name") == "lstm"
    cell["forget_bias"] = float(cell["forget_bias"])  # text in the config: the command line also gives names
    assert different(cell, cells.lstm) == {}


def test_each_exemption_is_still_needed():
    functions = {f.__name__: (s, f) for s, f in (("optim", optim.build), ("model", models.recurrent))}
    for function, field in EXEMPT:
        section, code = functions[function]
        value = base.get_config()[section][field]
        assert value != inspect.signature(code).parameters[field].default, (function, field)
