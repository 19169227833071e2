"""A sweep of four short runs of which two diverge, and the comparison of two directories of one sweep."""

from pathlib import Path

import pytest
from ml_collections import ConfigDict

from configs.memory import base
from lstm_jax.runs.metrics import read_metrics, read_result
from lstm_jax.sweep.define import Sweep, expand
from lstm_jax.sweep.directory import SweepPaths

DEFINITION = {"grid": {"optim.learning_rate": [0.1, 1e30]}, "seeds": 2}
GOOD = ["learning_rate=0.1,seed=1", "learning_rate=0.1,seed=2"]
BAD = ["learning_rate=1e+30,seed=1", "learning_rate=1e+30,seed=2"]


def tiny() -> ConfigDict:
    """A run of a moment; a learning rate of 1e30 takes it to infinity at its second step."""
    config = base.get_config("delayed_recall")
    config.task.update(length=3, batch=4, epoch_steps=4, eval_batch=8, eval_steps=1)
    config.model.update(hidden=(4,), embedding=4)
    config.optim.update(name="sgd", clip=0.0)
    config.train.update(epochs=2, steps_per_call=2)
    return config


def sweep() -> Sweep:
    return expand(tiny(), DEFINITION)


CLOSE = dict(rel=1e-3, abs=1e-6)
"""Sums of float32 in another order, whose differences grow over a few dozen steps of training."""


def assert_equal_runs(one: Path, other: Path, sweep: Sweep) -> None:
    """Every figure of every row and of the result, up to rounding; steps and what was solved exactly."""
    for member in sweep.members:
        a, b = (SweepPaths(directory).member(member.name) for directory in (one, other))
        for row, like in zip(read_metrics(a), read_metrics(b), strict=True):
            assert row.keys() == like.keys()
            for name in row.keys() - {"tokens_per_second", "kind"}:
                assert row[name] == pytest.approx(like[name], **CLOSE), (member.name, row["step"], name)
        mine, theirs = read_result(a), read_result(b)
        for split, figures in theirs["figures"]["static"].items():
            assert mine["figures"]["static"][split] == pytest.approx(figures, **CLOSE), member.name
        for name in ("best_step", "steps", "parameters", "solved_step"):
            assert mine.get(name) == theirs.get(name), (member.name, name)
