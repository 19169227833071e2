"""Which members are trained at once, by how many workers, and how `auto` decides it."""

import logging
from pathlib import Path

import pytest
from test_sweep_run import tiny
from test_sweep_together import assert_equal_runs

from lstm_jax.errors import UserError
from lstm_jax.sweep import measure
from lstm_jax.sweep import run as running
from lstm_jax.sweep.define import Sweep, expand
from lstm_jax.sweep.member import Job
from lstm_jax.sweep.units import apart, group, share_out


def jobs(sweep: Sweep, directory: Path) -> list[Job]:
    return [
        Job(m.name, m.config.to_dict(), str(directory / m.name), "best", str(directory / "compiled"))
        for m in sweep.members
    ]


def two_programs(seeds: int = 3) -> Sweep:
    return expand(
        tiny(), {"grid": {"task.length": [3, 4], "optim.learning_rate": [0.1, 0.2]}, "seeds": seeds}
    )


def test_groups_are_of_one_program_and_of_one_step(tmp_path):
    every = jobs(two_programs(), tmp_path)
    groups = group(every)
    assert [len(members) for members in groups] == [6, 6]
    assert all(len({job.config["task"]["length"] for job in members}) == 1 for members in groups)
    (Path(every[1].directory) / "checkpoints/latest/40").mkdir(parents=True)
    assert [len(members) for members in group(every)] == [5, 1, 6], "one has come further"
    assert [job.name for unit in apart(every) for job in unit] == [job.name for job in every]


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("most", [1, 2, 64])
def test_shares_lose_no_member_and_keep_to_the_most(tmp_path, workers, most):
    groups = group(jobs(two_programs(), tmp_path))
    units = share_out(groups, workers, most)
    assert [job for unit in units for job in unit] == [job for members in groups for job in members]
    assert max(map(len, units)) <= most
    for members in groups:
        parts = [unit for unit in units if unit[0] in members]
        assert len(parts) >= min(workers, len(members)), "every worker has a part"
        assert max(map(len, parts)) - min(map(len, parts)) <= max(map(len, parts)) // 2 + 1


@pytest.mark.parametrize("together, mode", [(200.0, "vmap"), (50.0, "sequential")])
def test_auto_takes_the_faster_and_says_what_it_measured(
    tmp_path, monkeypatch, caplog, capfd, together, mode
):
    asked = []

    def pace(units: list, cores: list) -> measure.Pace:
        asked.append([len(unit) for unit in units])
        return measure.Pace(100.0, together, len(units[0]))

    monkeypatch.setattr(running, "choose_faster", pace)
    monkeypatch.setattr(running, "cores", lambda: [0])
    monkeypatch.setattr(running, "WORTH_MEASURING", 1)
    with caplog.at_level(logging.INFO):
        running.run(two_programs(seeds=1), tmp_path, mode="auto")
    assert asked == [[2]], "the largest group is measured, once"
    line = next(record.getMessage() for record in caplog.records if "to train" in record.getMessage())
    assert f"mode {mode}" in line
    assert f"measured 100 windows/s one member at a time, {together:g} with 2 together" in line


def test_auto_does_not_measure_where_there_is_nothing_to_win(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "choose_faster", None)  # a call would raise
    monkeypatch.setattr(running, "cores", lambda: [0])
    how, units = running.choose(jobs(two_programs(), tmp_path), running.How("auto"), 0)
    assert how.mode == "sequential" and "too little to train" in how.why and max(map(len, units)) == 1
    alone = expand(tiny(), {"grid": {"task.length": [3, 4]}})
    how, _ = running.choose(jobs(alone, tmp_path), running.How("auto"), 0)
    assert how.mode == "sequential" and "no two members" in how.why
    monkeypatch.setattr(running, "cores", lambda: [0, 1])
    how, _ = running.choose(jobs(alone, tmp_path), running.How("auto"), 0)
    assert (how.mode, how.workers) == ("processes", 2)


def test_what_is_measured_is_real_and_leaves_nothing_behind(tmp_path):
    every = group(jobs(two_programs(), tmp_path))[0]
    pace = measure.choose_faster([every[:2]], [])
    assert pace.apart > 0 and pace.together > 0 and pace.members == 2
    assert not [path for path in tmp_path.iterdir() if path.name != "compiled"]


def test_members_that_cannot_be_measured_say_why(tmp_path):
    bad = tiny()
    bad.model.backend = "cudnn"
    every = jobs(expand(bad, {"seeds": 2}), tmp_path)
    with pytest.raises(UserError, match="cudnn"):
        measure.choose_faster([every], [])
    with pytest.raises(UserError, match=r"cannot be measured: .*cudnn"):
        measure.choose_faster([every[:1], every[1:]], [[0], [0]])


def test_two_workers_with_members_together_give_the_same(tmp_path):
    sweep = expand(tiny(), {"seeds": 4})
    outcome = running.run(sweep, tmp_path / "workers", mode="vmap", jobs=2)
    assert len(outcome.finished) == 4
    running.run(sweep, tmp_path / "sequential", mode="sequential")
    assert_equal_runs(tmp_path / "workers", tmp_path / "sequential", sweep)
