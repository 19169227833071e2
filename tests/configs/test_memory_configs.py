"""Every recipe in configs/memory: its fields, its model and task, and the command of its docstring."""

import importlib
import inspect
import re

import jax
import pytest
from conftest import ROOT
from ml_collections import ConfigDict

from configs import base
from lstm_jax import models, tasks
from lstm_jax.tasks import TASKS
from lstm_jax.training import optim

FILES = sorted(
    p.stem for p in (ROOT / "configs" / "memory").glob("*.py") if p.stem not in ("base", "__init__")
)
COMMAND = re.compile(
    r"python (experiments/memory\.py) --config=(configs/memory/(\w+)\.py)(?::(\S+))?((?: --\S+)*)"
)


def module(name):
    return importlib.import_module(f"configs.memory.{name}")


def fields(config, above=""):
    """Value of every field by its dotted name."""
    found = {}
    for name, value in config.items():
        found |= fields(value, f"{above}{name}.") if isinstance(value, ConfigDict) else {above + name: value}
    return found


def test_every_task_has_a_recipe():
    assert set(TASKS) - {"language_model", "text_classification"} <= set(FILES)  # of text: not of memory


@pytest.mark.parametrize("name", FILES)
def test_a_recipe_sets_fields_that_there_are_to_values_of_their_kind(name):
    config = module(name).get_config()
    if name in TASKS:
        assert config.task.name == name
    plain = fields(base.get_config(config.task.name))
    found = fields(config)
    assert set(found) == set(plain)
    assert {field: type(value) for field, value in found.items()} == {f: type(v) for f, v in plain.items()}


@pytest.mark.parametrize("name", FILES)
def test_the_task_the_model_and_the_optimizer_build(name):
    config = module(name).get_config().to_dict()
    if config["task"].get("source") == "digits":
        pytest.importorskip("sklearn")
    task = tasks.make_task(**config["task"], epochs=config["train"]["epochs"], seed=config["seed"])
    model = models.make_model(
        facts=task.facts,
        vocab=task.vocab,
        input_dim=task.input_dim,
        outputs=task.outputs,
        **config["model"],
    )
    params = jax.eval_shape(model.init, jax.random.key(0))
    penalties = {field: config["objective"][field] for field in ("l1", "l2", "penalty", "penalty_mask")}
    jax.eval_shape(optim.build(params, **config["optim"], **penalties).init, params)
    assert task.solved and config["train"]["stop_when_solved"]


@pytest.mark.parametrize("name", FILES)
def test_its_docstring_tells_a_command_that_parses_chance_and_when_it_is_solved(name):
    text = module(name).__doc__
    commands = COMMAND.findall(text)
    assert commands, "no command"
    for script, file, config_name, variant, flags in commands:
        assert (ROOT / script).is_file() and (ROOT / file).is_file()
        assert config_name == name
        get = module(name).get_config
        assert bool(variant) <= bool(inspect.signature(get).parameters)
        config = get(variant) if variant else get()
        known = fields(config)
        for flag in flags.split():
            field, _, value = flag.removeprefix("--").partition("=")
            if field.startswith("config."):
                type(known[field.removeprefix("config.")])(value.strip("'\"()").split(",")[0])
            else:
                assert field == "workdir"
    assert "chance" in text.lower() and "solved" in text.lower()
