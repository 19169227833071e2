"""Runs on memory tasks as a user starts them: solved, stopped, resumed, tested at other lengths, refused."""

import importlib
import os
import signal

import jax
import pytest

from configs import base
from configs.memory import base as memory
from lstm_jax.evaluate import make_evaluator
from lstm_jax.runs.interrupts import Interrupted
from lstm_jax.runs.metrics import Recorder, read_metrics, read_result
from lstm_jax.support.errors import UserError
from lstm_jax.tasks import GENERATORS, make_task
from lstm_jax.training import loop
from lstm_jax.training.lengths import ranged
from tests.solvers import SOLVERS


def tiny(task="delayed_recall", **changes):
    """A run of a second; the delayed recall of it is solved within some 40 steps."""
    try:
        config = importlib.import_module(f"configs.memory.{task}").get_config()
    except ModuleNotFoundError:
        config = memory.get_config(task)
    config.task.update(batch=8, epoch_steps=10, eval_batch=32, eval_steps=1)
    config.model.update(hidden=(8,), embedding=4)
    config.optim.learning_rate = 0.03
    config.train.update(epochs=20, steps_per_call=5, tensorboard=False)
    if task == "delayed_recall":
        config.task.update(length=2, symbols=2, distractors=0)
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    return config


def timeless(workdir):
    return [
        {name: value for name, value in row.items() if name != "tokens_per_second"}
        for row in read_metrics(workdir)
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run to its end, never stopped, though it is solved before."""
    workdir = tmp_path_factory.mktemp("whole")
    changes = {"train.stop_when_solved": False, "train.epochs": 12, "evaluate.lengths": (2, 5)}
    loop.run(tiny(**changes), str(workdir))
    return workdir, changes


def test_a_run_tells_whether_and_when_it_was_solved(whole):
    workdir, _ = whole
    result = read_result(workdir)
    assert result["solved"] is True and result["steps"] == 120
    rows = [row for row in read_metrics(workdir) if row["kind"] == "valid"]
    first = next(row["step"] for row in rows if row["accuracy"] >= 0.99)
    assert 0 < result["solved_step"] == first < 120
    assert result["chance"] == {"nats": pytest.approx(0.693147), "accuracy": 0.5}
    assert set(result["figures"]["static"]["test"]) == set(result["chance"])


def test_it_is_tested_at_other_lengths(whole):
    lengths = read_result(whole[0])["lengths"]
    assert list(lengths) == ["2", "5"]
    assert lengths["2"] == read_result(whole[0])["figures"]["static"]["test"]  # the very same sequences
    assert lengths["5"]["nats"] != lengths["2"]["nats"]


def test_a_range_of_lengths_is_one_program_and_has_a_mean(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        "lstm_jax.evaluate.make_evaluator",
        lambda task, model, split: (
            made.append((split, task.buckets[split])) or make_evaluator(task, model, split)
        ),
    )
    lengths = ("5:9:2", 12)
    changes = {"train.epochs": 1, "task.length": 4, "evaluate.lengths": lengths, "optim.learning_rate": 0.0}
    result = loop.run(tiny("reverse_string", **changes), str(tmp_path))
    assert list(result["lengths"]) == ["5", "7", "9", "12"]
    assert made.count(("test", (19,))) == made.count(("test", (25,))) == made.count(("test", (9,))) == 1
    nats = [result["lengths"][n]["nats"] for n in ("5", "7", "9")]
    assert len(set(nats)) == 3 and result["mean_over_lengths"]["nats"] == pytest.approx(sum(nats) / 3)
    assert (tmp_path / "lengths.png").stat().st_size > 5000
    assert ranged(lengths) == [5, 7, 9]


@pytest.mark.parametrize("wrong", ["5:4", "0:3", "5", "1:9:0", "5-9"])
def test_what_is_no_range_of_lengths_is_told(wrong):
    with pytest.raises(UserError, match=f"evaluate.lengths: '{wrong}' is no length"):
        ranged((7, wrong))


def test_a_run_stops_when_it_is_solved_and_is_not_taken_up_again(whole, tmp_path):
    result = loop.run(tiny(), str(tmp_path))
    assert result["steps"] == result["solved_step"] == read_result(whole[0])["solved_step"]
    assert timeless(tmp_path) == [r for r in timeless(whole[0]) if r["step"] <= result["steps"]]
    rows = timeless(tmp_path)
    assert loop.run(tiny(), str(tmp_path))["steps"] == result["steps"]
    assert timeless(tmp_path) == rows


@pytest.mark.parametrize("when", ["before", "after"])
def test_resuming_equals_never_stopping(whole, tmp_path, monkeypatch, when):
    """Stopped before it is solved and after: the step at which it was is part of what is saved."""
    workdir, changes = whole
    solved = read_result(workdir)["solved_step"]
    stop = 5 if when == "before" else solved + 5
    write = Recorder.write

    def interrupting(self, step, kind, **values):
        write(self, step, kind, **values)
        if kind == "train" and step == stop:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Recorder, "write", interrupting)
    with pytest.raises(Interrupted, match=f"stopped at step {stop}"):
        loop.run(tiny(**changes), str(tmp_path))
    monkeypatch.setattr(Recorder, "write", write)
    loop.run(tiny(**changes), str(tmp_path))
    assert timeless(tmp_path) == timeless(workdir)
    one, other = read_result(tmp_path), read_result(workdir)
    for field in ("solved", "solved_step", "steps", "best_step", "figures", "lengths"):
        assert one[field] == other[field], field


def test_a_run_that_is_not_solved_says_so(tmp_path, capsys):
    result = loop.run(tiny(**{"optim.learning_rate": 0.0, "train.epochs": 1}), str(tmp_path))
    assert result["solved"] is False and result["solved_step"] is None
    assert "never on valid; not met on test" in capsys.readouterr().out


@pytest.mark.parametrize("name", GENERATORS)
def test_every_task_goes_through_the_real_loop(name, tmp_path):
    sizes = dict(batch=3, epoch_steps=2, eval_batch=4, eval_steps=1)
    changes = {f"task.{field}": value for field, value in (SOLVERS[name].cases[0] | sizes).items()}
    config = tiny(name, **changes, **{"train.epochs": 1, "train.stop_when_solved": False})
    result = loop.run(config, str(tmp_path))
    assert result["steps"] == 2 and set(result["figures"]["static"]["test"]) == set(result["chance"])
    assert result["solved"] in (True, False)


@pytest.mark.parametrize(
    ("config", "raised"),
    [
        (lambda: tiny(**{"optim.scale_by_length": True}), r"optim\.scale_by_length needs windows of a text"),
        (lambda: tiny(**{"evaluate.lengths": (0,)}), r"evaluate\.lengths=\(0,\): allowed is"),
        (lambda: tiny(**{"task.batch": 0}), r"task\.batch=0 is not possible"),
        (
            lambda: tiny("long_lag_2a", **{"task.length": 4, "evaluate.lengths": (4, 6)}),
            r"evaluate\.lengths.*6.*'long_lag_2a'.*other",
        ),
    ],
    ids=["scale_by_length", "length 0", "batch 0", "another alphabet"],
)
def test_what_a_run_cannot_do_is_refused_before_it_begins(config, raised, tmp_path):
    with pytest.raises(UserError, match=raised) as error:
        loop.run(config(), str(tmp_path / "run"))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_other_lengths_of_a_task_without_length_are_refused(tmp_path):
    config = base.get_config()
    config.evaluate.lengths = (5,)
    with pytest.raises(UserError, match="the task 'language_model' has no length"):
        loop.run(config, str(tmp_path))


IMPOSSIBLE = [
    ("delayed_recall", dict(symbols=1), r"task\.symbols=1 .* must be 2 or more"),
    ("delayed_recall", dict(distractors=-1), r"task\.distractors=-1 .* must be 0 or more"),
    ("adding", dict(length=1), r"task\.length=1 .* must be 2 or more"),
    ("adding_1997", dict(length=7), r"task\.length=7 .* must be 8 or more"),
    ("multiplication", dict(length=7), r"task\.length=7 .* must be 8 or more"),
    ("copying", dict(items=0), r"task\.items=0 .* must be 1 or more"),
    ("variable_copying", dict(symbols=1), r"task\.symbols=1 .* must be 2 or more"),
    ("selective_copying", dict(length=5, items=6), r"task\.items=6 .* must be between 1 and 5"),
    ("long_lag_2a", dict(length=1), r"task\.length=1 .* must be 2 or more"),
    ("long_lag_2b", dict(length=2), r"task\.length=2 .* must be 3 or more"),
    ("long_lag_2c", dict(distractors=0), r"task\.distractors=0 .* must be 1 or more"),
    ("temporal_order", dict(order=5), r"task\.order=5 .* must be between 2 and 4"),
    ("temporal_order", dict(length=9), r"task\.length=9 .* must be 10 or more"),
    ("parity", dict(length=4, shortest=5), r"task\.shortest=5 .* must be between 1 and 4"),
]


@pytest.mark.parametrize(("name", "options", "raised"), IMPOSSIBLE)
def test_impossible_options_are_told(name, options, raised):
    with pytest.raises(UserError, match=raised):
        make_task(name, **options, epochs=1, seed=0)


def test_seeds_of_one_config_share_their_compiled_loop(tmp_path):
    """The seed's keys are data of the program, so a second seed costs no second compile."""
    task, other = (make_task("parity", epochs=1, seed=seed) for seed in (0, 1))
    text = [
        jax.jit(t.batch, static_argnums=(1, 3)).lower(t.data, "train", 0, 0).as_text() for t in (task, other)
    ]
    assert text[0] == text[1]
