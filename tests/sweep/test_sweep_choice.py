"""Which members are trained at once, by how many workers, and how `auto` decides it."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_sweep import assert_equal_runs, tiny

from lstm_jax.support.errors import UserError
from lstm_jax.sweep import measure
from lstm_jax.sweep import run as running
from lstm_jax.sweep.define import Sweep, expand
from lstm_jax.sweep.directory import record_failure, record_group
from lstm_jax.sweep.job_groups import group_by_program, one_by_one, split_groups
from lstm_jax.sweep.member import Job


def jobs(sweep: Sweep, directory: Path) -> list[Job]:
    return [
        Job(m.name, m.config.to_dict(), str(directory / m.name), "best", str(directory / "compiled"))
        for m in sweep.members
    ]


def two_programs(seeds: int = 3) -> Sweep:
    return expand(
        tiny(), {"grid": {"task.length": [3, 4], "optim.learning_rate": [0.1, 0.2]}, "seeds": seeds}
    )


def test_groups_are_of_one_program(tmp_path):
    every = jobs(two_programs(), tmp_path)
    groups = group_by_program(every)
    assert [len(members) for members in groups] == [6, 6]
    assert all(len({job.config["task"]["length"] for job in members}) == 1 for members in groups)
    assert [job.name for job_group in one_by_one(every) for job in job_group] == [job.name for job in every]


def test_groups_that_have_begun_stay_together(tmp_path):
    """Whatever of them has ended, and whatever the split of the others would be now."""
    every = jobs(two_programs(), tmp_path)
    names = [job.name for job in every]
    for job in every[:3]:
        record_group(job.directory, names[:3])
        (Path(job.directory) / "config.json").write_text("{}")
    (Path(every[0].directory) / "result.json").write_text("{}")
    record_failure(every[1].directory, UserError("diverged"))
    Path(every[5].directory).mkdir()
    (Path(every[5].directory) / "config.json").write_text("{}")  # began on its own

    def names_of(due: list, schedule: running.Schedule) -> list[list[str]]:
        return [[job.name for job in group] for group in running.choose(due, schedule, 1, every)[1]]

    due = every[2:]
    for schedule in (running.Schedule("vmap"), running.Schedule("auto")):
        groups = names_of(due, schedule)
        assert groups[:2] == [names[:3], names[5:6]], "ended members stay part of the program"
        assert sorted(name for group in groups[2:] for name in group) == sorted(names[3:5] + names[6:])
    assert names_of([every[1], *due], running.Schedule("vmap"))[2] == names[1:2], (
        "what failed is retried alone"
    )
    busy = every[2]
    assert names_of([job for job in due if job is not busy], running.Schedule("vmap"))[0] == names[5:6]
    for damaged in ("[]", '{"members": 3}', "{", "[" * 100_000):
        (Path(every[2].directory) / "group.json").write_text(damaged)
        assert names_of(due, running.Schedule("vmap"))[0] == names[:3], "by the records of the others"
    for job in every[:2]:
        (Path(job.directory) / "group.json").unlink()
    assert names_of(due, running.Schedule("vmap"))[0] == names[2:3]


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("most", [1, 2, 64])
def test_shares_lose_no_member_and_keep_to_the_most(tmp_path, workers, most):
    groups = group_by_program(jobs(two_programs(), tmp_path))
    job_groups = split_groups(groups, workers, most)
    assert [job for job_group in job_groups for job in job_group] == [
        job for members in groups for job in members
    ]
    assert max(map(len, job_groups)) <= most
    for members in groups:
        parts = [job_group for job_group in job_groups if job_group[0] in members]
        assert len(parts) >= min(workers, len(members)), "every worker has a part"
        assert max(map(len, parts)) - min(map(len, parts)) <= max(map(len, parts)) // 2 + 1


@pytest.mark.parametrize("together, mode", [(200.0, "vmap"), (50.0, "sequential")])
def test_auto_takes_the_faster_and_says_what_it_measured(
    tmp_path, monkeypatch, caplog, capfd, together, mode
):
    asked = []

    def pace(job_groups: list, cores: list) -> measure.Pace:
        asked.append([len(job_group) for job_group in job_groups])
        return measure.Pace(100.0, together, len(job_groups[0]))

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
    schedule, job_groups = running.choose(jobs(two_programs(), tmp_path), running.Schedule("auto"), 0)
    assert (
        schedule.mode == "sequential"
        and "too little to train" in schedule.why
        and max(map(len, job_groups)) == 1
    )
    alone = expand(tiny(), {"grid": {"task.length": [3, 4]}})
    schedule, _ = running.choose(jobs(alone, tmp_path), running.Schedule("auto"), 0)
    assert schedule.mode == "sequential" and "no two members" in schedule.why
    monkeypatch.setattr(running, "cores", lambda: [0, 1])
    schedule, _ = running.choose(jobs(alone, tmp_path), running.Schedule("auto"), 0)
    assert (schedule.mode, schedule.workers) == ("processes", 2)


def test_what_is_measured_is_real_and_leaves_nothing_behind(tmp_path):
    every = group_by_program(jobs(two_programs(), tmp_path))[0]
    pace = measure.choose_faster([every[:2]], [])
    assert pace.one_by_one > 0 and pace.together > 0 and pace.members == 2
    assert not [path for path in tmp_path.iterdir() if path.name != "compiled"]


def test_what_diverges_is_measured_all_the_same(tmp_path):
    """It would end the loop at its second step."""
    wild = expand(tiny(), {"grid": {"optim.learning_rate": [1e30]}, "seeds": 2})
    assert measure.measured(jobs(wild, tmp_path)[:1]) > 0


def pretend(monkeypatch: pytest.MonkeyPatch, last: dict[str, int], seconds: float = 1.0) -> None:
    """Training that takes so many seconds a call, and of a member in `last` ends at that step."""
    from lstm_jax.training import optim, program

    clock = iter(range(1000))
    monkeypatch.setattr(measure.time, "perf_counter", lambda: seconds * next(clock))
    monkeypatch.setattr(measure, "share_compiles", lambda directory: None)
    monkeypatch.setattr(optim, "set_learning_rate", lambda state, rate: state)
    monkeypatch.setattr(program, "prepare", lambda configs: ())

    class State(SimpleNamespace):
        def replace(self, **changes: Any) -> "State":
            return State(**vars(self) | changes)

    def assemble(configs: Any, **_: Any) -> Any:
        ends = max(last.get(str(c.model.cell.forget_bias), 10**9) for c in configs)

        def advance(which: Any, states: Any, windows: int) -> Any:
            step = min(states[0].step + windows, ends)
            return [State(step=step, bad_step=step, opt_state=None) for _ in which], {}

        return SimpleNamespace(
            fresh=[State(step=0, bad_step=-1, opt_state=None) for _ in configs], advance=advance
        )

    monkeypatch.setattr(program, "assemble", assemble)


def test_windows_that_did_not_run_are_not_counted(tmp_path, monkeypatch):
    """One whose numbers are not finite from the start on makes place for another."""
    every = jobs(expand(tiny(), {"grid": {"model.cell.forget_bias": ["1", "2"]}}), tmp_path)
    pretend(monkeypatch, {"1": 3})
    with pytest.raises(UserError, match="not finite at step 3"):
        measure.measured(every[:1])
    assert measure.measured(every[1:]) == measure.WINDOWS
    pace = measure.choose_faster([every], [])
    assert (pace.one_by_one, pace.together, pace.members) == (measure.WINDOWS, 2 * measure.WINDOWS, 2)


def wanted(monkeypatch: pytest.MonkeyPatch, every: list[Job], cores: list[int]) -> running.Schedule:
    """What "auto" makes of the jobs, however little there is to train."""
    monkeypatch.setattr(running, "cores", lambda: cores)
    monkeypatch.setattr(running, "WORTH_MEASURING", 1)
    schedule, job_groups = running.choose(every, running.Schedule("auto"), 0)
    assert [job for job_group in job_groups for job in job_group] == every
    return schedule


def test_where_all_diverge_it_is_chosen_without_a_measurement(tmp_path, monkeypatch):
    every = jobs(expand(tiny(), {"grid": {"model.cell.forget_bias": ["1", "2"]}}), tmp_path)
    pretend(monkeypatch, {"1": 0, "2": 0})
    schedule = wanted(monkeypatch, every, [0])
    assert (
        schedule.mode == "sequential"
        and "without a measurement" in schedule.why
        and "not finite" in schedule.why
    )


def test_memory_that_runs_out_halves_the_group(tmp_path, monkeypatch):
    every = jobs(expand(tiny(), {"seeds": 8}), tmp_path)

    def measured(job_group: list[Job]) -> float:
        if len(job_group) > 4:
            raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return 100.0 * len(job_group)

    monkeypatch.setattr(measure, "measured", measured)
    schedule = wanted(monkeypatch, every, [0])
    assert (
        schedule.mode == "vmap"
        and "400 with 4 together" in schedule.why
        and "RESOURCE_EXHAUSTED" in schedule.why
    )
    monkeypatch.setattr(
        measure, "measured", lambda job_group: measured([job_group[0]] * (5 if len(job_group) > 1 else 1))
    )
    assert wanted(monkeypatch, every, [0]).mode == "sequential"


def test_one_member_that_cannot_be_trained_does_not_stop_the_choice(tmp_path, caplog, monkeypatch):
    """In the process itself; `auto` then trains what can be trained, and the bad one fails by itself."""
    monkeypatch.setattr(running, "cores", lambda: [0])
    monkeypatch.setattr(running, "WORTH_MEASURING", 1)
    sweep = expand(tiny(), {"grid": {"model.cell.forget_bias": ["nonsense", "1"]}})
    with caplog.at_level(logging.INFO):
        outcome = running.run(sweep, tmp_path, mode="auto")
    bad, good = (member.name for member in sweep.members)
    assert outcome.finished == [good] and "nonsense" in outcome.failed[bad]
    line = next(record.getMessage() for record in caplog.records if "to train" in record.getMessage())
    assert "mode sequential" in line and "cannot be measured" in line and "nonsense" in line


def test_members_that_cannot_be_measured_in_workers_say_why(tmp_path, monkeypatch):
    bad = tiny()
    bad.model.backend = "cudnn"
    schedule = wanted(monkeypatch, jobs(expand(bad, {"seeds": 2}), tmp_path), [0, 0])
    assert schedule.mode == "processes"
    assert "without a measurement, the members cannot be measured" in schedule.why and "cudnn" in schedule.why


def test_two_workers_with_members_together_give_the_same(tmp_path):
    sweep = expand(tiny(), {"seeds": 4})
    outcome = running.run(sweep, tmp_path / "workers", mode="vmap", jobs=2)
    assert len(outcome.finished) == 4
    running.run(sweep, tmp_path / "sequential", mode="sequential")
    assert_equal_runs(tmp_path / "workers", tmp_path / "sequential", sweep)
