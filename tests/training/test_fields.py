"""The table of ranges: it covers every field, and refuses what cannot be before anything is loaded."""

import logging
import pickle

import pytest

from configs import base
from lstm_jax.runs.directory import RunDirectory, flat_config
from lstm_jax.runs.interrupts import Interrupted
from lstm_jax.support.errors import UserError
from lstm_jax.training import loop
from lstm_jax.training.fields import ADDED, RANGES, check_fields


def changed(name, value):
    config = base.get_config().to_dict()
    *sections, last = name.split(".")
    section = config
    for part in sections:
        section = section[part]
    section[last] = value
    return config


def test_every_field_has_a_range_and_its_default_is_in_it():
    fields = dict(flat_config(base.get_config().to_dict()))
    assert set(RANGES) == set(fields)
    assert [name for name, value in fields.items() if not RANGES[name].holds(value)] == []
    assert set(ADDED) <= set(fields)


IMPOSSIBLE = [
    ("model.hidden", ("a",)),
    ("model.hidden", ()),
    ("model.hidden", (1_000_000_000,)),
    ("model.embedding", 0),
    ("model.embedding", -1),
    ("objective.penalty_mask", ("(",)),
    ("objective.ar", -1.0),
    ("optim.eps", -1.0),
    ("optim.clip", float("inf")),
    ("optim.learning_rate", float("nan")),
    ("train.eval_every", -1),
    ("train.save_every", -1),
    ("train.steps_per_call", 0),
    ("train.patience", -1),
    ("train.epochs", 1_000_000_000),
    ("seed", -1),
    ("seed", 4_294_967_296),
    ("task.window_jitter", 1e308),
    ("evaluate.sample", 100_000_000),
]


@pytest.mark.parametrize(("name", "value"), IMPOSSIBLE)
def test_an_impossible_value_is_refused_by_name(name, value, tmp_path):
    with pytest.raises(UserError, match=f"^{name}=.*allowed is") as raised:
        check_fields(changed(name, value))
    assert "\n" not in str(raised.value)


def test_it_is_refused_before_anything_is_made(tmp_path):
    config = base.get_config()
    config.seed = 2**32
    with pytest.raises(UserError, match="seed=4294967296: allowed is a whole number from 0 to 4,294,967,295"):
        loop.run(config, str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_model_that_the_memory_cannot_hold_is_refused():
    with pytest.raises(UserError, match=r"needs about [\d,]+ GiB .* this machine has"):
        check_fields(changed("model.hidden", (65_000,) * 9))


def test_a_learning_rate_that_cannot_be_meant_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        check_fields(changed("optim.learning_rate", 1e30))
    assert "hardly stay finite" in caplog.text


def test_a_run_made_before_a_field_was_added_resumes(tmp_path):
    config = base.get_config().to_dict()
    old = changed("seed", 1)
    del old["train"]["track"], old["model"]["remat_chunk"]
    with RunDirectory(tmp_path, ADDED) as directory:
        directory.guard(old)
        assert directory.guard(config)
        config["model"]["remat_chunk"] = 16
        with pytest.raises(UserError, match="remat_chunk"):
            directory.guard(config)


def test_a_directory_with_files_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("mine\n")
    with RunDirectory(tmp_path) as directory, pytest.raises(UserError, match="it is not a run"):
        directory.guard(base.get_config().to_dict())
    assert (tmp_path / "metrics.jsonl").read_text() == "mine\n" and not (tmp_path / "config.json").exists()


def test_an_interruption_can_be_pickled():
    back = pickle.loads(pickle.dumps(Interrupted(15, "stopped")))
    assert back.signum == 15 and str(back) == "stopped"


def test_a_cosine_schedule_that_grows_is_warned_of(tmp_path, caplog):
    config = changed("optim.schedule", "cosine")
    longer = changed("optim.schedule", "cosine")
    longer["train"]["epochs"] += 1
    with RunDirectory(tmp_path) as directory, caplog.at_level(logging.WARNING):
        directory.guard(config)
        directory.guard(config)
        assert "cosine" not in caplog.text
        directory.guard(longer)
    assert f"now ends at epoch {longer['train']['epochs']}" in caplog.text
