"""Every recipe in configs/classify: its fields, its model and optimizer, the command of its docstring."""

import importlib
import re

import jax
import pytest
from conftest import ROOT
from ml_collections import ConfigDict

from configs import base
from lstm_jax import models
from lstm_jax.corpora.labelled import LABELLED
from lstm_jax.models import MODELS
from lstm_jax.training import optim

FILES = sorted(p.stem for p in (ROOT / "configs" / "classify").glob("*.py") if p.stem != "__init__")
COMMAND = re.compile(r"python (experiments/classify\.py) --config=(configs/classify/(\w+)\.py)")


def module(name):
    return importlib.import_module(f"configs.classify.{name}")


def kinds(config, above=""):
    """Type of every field by its dotted name."""
    found = {}
    for name, value in config.items():
        inner = (
            kinds(value, f"{above}{name}.") if isinstance(value, ConfigDict) else {above + name: type(value)}
        )
        found |= inner
    return found


def test_every_source_of_texts_has_a_recipe():
    assert {module(name).get_config().task.source for name in FILES} == set(LABELLED)


@pytest.mark.parametrize("name", FILES)
def test_a_recipe_sets_fields_that_there_are_and_builds(name):
    config = module(name).get_config()
    assert kinds(config) == kinds(base.get_config("text_classification"))
    assert config.optim.clip > 0 and config.objective.l2 > 0 and config.model.name in MODELS
    model = models.make_model(vocab=50, outputs=3, **config.to_dict()["model"])
    params = jax.eval_shape(model.init, jax.random.key(0))
    penalties = {field: config.objective[field] for field in ("l1", "l2", "penalty", "penalty_mask")}
    jax.eval_shape(optim.build(params, **config.optim, **penalties).init, params)


@pytest.mark.parametrize("name", FILES)
def test_its_docstring_tells_command_source_and_what_to_expect(name):
    text = module(name).__doc__
    commands = COMMAND.findall(text)
    assert commands and all((ROOT / script).is_file() and config == name for script, _, config in commands)
    assert "expect" in text.lower()
