"""Figures and statistics of hand-made members."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.memory import base
from lstm_jax.analysis import solved, variants
from lstm_jax.support.csv_files import FORMULA
from lstm_jax.support.errors import UserError
from lstm_jax.sweep.baseline import find_baseline, reference, varying
from lstm_jax.sweep.comparison import variant_of
from lstm_jax.sweep.dashboard import Dashboard
from lstm_jax.sweep.define import expand
from lstm_jax.sweep.directory import SweepPaths, record_failure
from lstm_jax.sweep.statistics import NARROW
from lstm_jax.sweep.summary import better, counted, groups, median_step, summarise
from lstm_jax.sweep.summary import rows as rows_of
from lstm_jax.sweep.table import columns, failures, table


def member(bias: str, seed: int, accuracy: float | None, step: int | None = None) -> dict[str, Any]:
    row = {"name": f"{bias},{seed}", "seed": seed, "labels": {"forget_bias": bias, "length": 5}}
    if accuracy is None:
        return row | {"status": "failed", "error": "diverged"}
    figures = {"nats": 1 - accuracy, "accuracy": accuracy}
    return row | {
        "status": "finished", "solved": step is not None, "solved_step": step, "steps": 1000, "seconds": 2.0,
        "parameters": 1234, "best_step": 10, "chance": {"nats": 2.0, "accuracy": 0.125},
        "figures": {"valid": figures, "test": figures},
    }  # fmt: skip


MEMBERS = [
    *(member("0", seed, 0.1 * seed, 900 if seed == 5 else None) for seed in (1, 2, 3, 4, 5)),
    *(member("1", seed, 1.0, 100 * seed) for seed in (1, 2, 3, 4)),
    member("1", 5, None),
]


def test_groups_over_seeds():
    zero, one = groups(MEMBERS)
    assert (zero["solved"], zero["median_step"], zero["failed"]) == (1, None, 0)
    assert (one["solved"], one["median_step"], one["failed"]) == (4, 300, 1)
    assert zero["mean"] == pytest.approx(0.3)
    assert zero["low"] < 0.3 < zero["high"]
    assert (one["mean"], one["low"], one["high"]) == (1.0, 1.0, 1.0)
    assert groups(MEMBERS, "nats")[0]["mean"] == pytest.approx(0.7)


def test_the_table_says_it():
    lines = table(groups(MEMBERS)).splitlines()
    assert "length" not in lines[0], "what is the same everywhere is left out"
    assert "never" in lines[1] and "1/5 [0.04, 0.62]" in lines[1] and "5 of 5" in lines[1]
    assert "4/5" in lines[2] and "300" in lines[2] and "4 of 5 (1 failed)" in lines[2]
    assert len({len(line) for line in lines[:3]}) <= 2
    assert lines[3:] == ["", NARROW], "an interval is of four seeds"


def test_a_narrow_terminal_gets_blocks_that_each_name_the_variant():
    lines = table(groups(MEMBERS), 60).splitlines()
    assert max(map(len, lines)) <= 60
    heads = [line for line in lines if line.startswith("forget bias")]
    assert len(heads) > 1 and sum(line.count("seconds") for line in heads) == 1


def test_differences_are_to_the_baseline_seed_by_seed():
    """Seeds 1 to 4 are in both; variant 0 has 0.1 times its seed, variant 1 has 1."""
    zero, one = groups(MEMBERS)
    assert zero["compared_with"] is None and zero["difference"] is None
    assert (one["pairs"], one["compared_with"]["forget_bias"]) == (4, "0")
    assert one["difference"] == pytest.approx(1 - 0.25)
    assert one["difference_low"] < 0.75 < one["difference_high"]
    other = groups(MEMBERS, baseline="forget_bias=1")
    assert other[0]["difference"] == pytest.approx(-0.75) and other[1]["difference"] is None
    text = table(other)
    assert "minus forget_bias=1 [95 %]" in text and "-0.75 [" in text and text.count("baseline") == 1


@pytest.mark.parametrize("metric", ["accuracy", "last_accuracy", "nats"])
@pytest.mark.parametrize("seeds", [2, 4, 5])
def test_better_and_worse_are_said_of_five_pairs_and_more(metric, seeds):
    """Two equals of two seeds exclude 0 every second time, of four every eighth."""
    found = groups(
        [member(bias, seed, 0.1 * seed + int(bias)) for bias in "01" for seed in range(1, seeds + 1)]
    )
    for group in found:
        group["metric"] = metric
    (column,) = [column for column in columns(found) if column.marks]
    assert found[1]["difference_low"] > 0
    marked = {5: "worse" if metric == "nats" else "better"}
    assert column.marks == ["", marked.get(seeds, "")]
    assert NARROW in column.note


LABELS = [{"cell": cell, "hidden": hidden, "length": n} for cell in "ab" for hidden in (4, 8) for n in (5, 9)]
LISTED = [{"variant": name, "length": 5} for name in ("LSTM, bias=0", "GRU")]


@pytest.mark.parametrize(
    ("labels", "wanted", "found"),
    [
        (LABELS, None, {"cell": "a", "hidden": 4}),
        (LABELS, "cell=b", {"cell": "b"}),
        (LABELS, "b", {"cell": "b"}),
        (LABELS, "cell=b, hidden=8", {"cell": "b", "hidden": 8}),
        (LABELS, {"hidden": 8}, {"hidden": 8}),
        (LISTED, "LSTM, bias=0", {"variant": "LSTM, bias=0"}),
        (LISTED, "variant=GRU", {"variant": "GRU"}),
    ],
)
def test_a_baseline_is_found_as_a_person_writes_it(labels, wanted, found):
    assert find_baseline(labels, wanted, "length") == found


@pytest.mark.parametrize(
    "listed",
    [
        [{}, {"clip": 5}, {"hidden": 9}],
        [{"clip": 1}, {"clip": 1, "lr": 0.1}, {"clip": 1, "hidden": 9}],
        [{"clip": 1}, {"clip": 2, "lr": 0.1}, {"hidden": 9, "lr": 0.2}],
    ],
)
def test_what_the_first_of_a_list_does_not_set_is_part_of_the_baseline(listed):
    labels = [one | {"length": length} for one in listed for length in (5, 9)]
    chosen = find_baseline(labels, None, "length")
    assert [reference(labels, one, chosen, "length") for one in labels] == [0, 1] * 3
    rows = [member("", seed, 0.1 * seed) | {"labels": one} for one in labels for seed in (1, 2, 3)]
    found = groups(rows, length="length")
    assert [group["compared_with"] for group in found] == [None] * 2 + labels[:2] * 2
    raised = varying(listed)
    assert len({variant_of(one, raised) for one in listed}) == 3 and variant_of({}, raised) == "base config"
    assert variant_of(chosen, list(chosen)) == variant_of(listed[0], raised)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("cell=c", "its variants are: cell=a, hidden=4; "),
        ("width=3", "no variant"),
        ({"cell": "c"}, "cell=c"),
    ],
)
def test_a_baseline_that_is_no_variant_is_refused(wanted, says):
    with pytest.raises(UserError, match=says):
        find_baseline(LABELS, wanted, "length")


def test_a_value_of_two_fields_alone_is_refused():
    with pytest.raises(UserError, match="may be first=4 or second=4"):
        find_baseline([{"first": 4, "second": 5}, {"first": 5, "second": 4}], "4")


def test_a_variant_is_compared_at_its_own_length_and_in_its_own_company():
    places = [reference(LABELS, one, {"cell": "a"}, "length") for one in LABELS]
    assert places == [0, 1, 2, 3] * 2
    uneven = [{"name": "lstm", "bias": 1}, {"name": "gru"}, {"name": "elman"}]
    assert [reference(uneven, one, {"name": "lstm"}) for one in uneven] == [0, 0, 0]


def test_nothing_is_dropped_in_silence():
    new = {"name": "n", "seed": 7, "labels": MEMBERS[0]["labels"], "status": "new"}
    members = [*MEMBERS[:5], member("0", 6, math.nan), new]
    (group,) = groups(members)
    assert (group["counted"], group["finished"], group["members"]) == (5, 6, 7)
    assert "5 of 7 (1 unfinished, 1 diverged)" in table([group])
    assert failures([*MEMBERS, members[-1]]) == [
        "failed 1,5: diverged",
        "not finished, 1 of 11 members: n",
    ]


def test_one_run_is_no_baseline_unless_it_is_asked_for():
    """The trials of a search are variants of one seed each: their differences to the first say nothing."""
    rows = [member("0", 1, 0.5), member("1", 1, 0.9)]
    assert [group["compared_with"] for group in groups(rows)] == [None, None]
    assert groups(rows, baseline={"forget_bias": "0"})[1]["compared_with"]["forget_bias"] == "0"


def test_a_perplexity_beyond_all_vocabularies_has_diverged():
    assert counted("perplexity", 9e8) == 9e8 and math.isnan(counted("perplexity", 5e156))
    assert counted("squared_error", 5e156) == 5e156 and math.isnan(counted("squared_error", math.inf))


@pytest.mark.parametrize(
    ("steps", "median"),
    [([5, 1, 3], 3), ([5, None, 3], 5), ([None, None, 3], math.inf), ([1, 3, None, None], math.inf)],
)
def test_the_median_counts_unsolved_as_never(steps, median):
    assert median_step(steps) == median


def test_better_knows_which_way():
    assert better("accuracy", 0.9, 0.8) and better("last_accuracy", 0.9, 0.8) and better("nats", 0.8, 0.9)


ROWS = [
    {
        "variant": variant, "length": length, "seed": seed, "solved": index + length < 60 and seed != 3,
        "solved_step": 50 * length + 7 * seed if index + length < 60 and seed != 3 else None, "steps": 5000,
        "value": 1.0 if index + length < 60 else 0.125 + 0.01 * seed, "chance": 0.125,
    }
    for index, variant in enumerate(("0", "1", "chrono(length)"))
    for length in (10, 20, 50, 100)
    for seed in (1, 2, 3)
]  # fmt: skip


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_the_solved_map_writes_k_of_n_in_each_cell():
    figure = solved.solved_map(ROWS, legend="forget bias", title="a title")
    axes = figure.axes[0]
    assert texts(axes) == ["2/3", "2/3", "2/3", "0/3"] * 3
    np.testing.assert_allclose(axes.images[0].get_array()[0], [2 / 3, 2 / 3, 2 / 3, 0])
    assert [t.get_text() for t in axes.get_xticklabels()] == ["10", "20", "50", "100"]
    assert axes.get_xlabel() == "length (steps)" and axes.get_ylabel() == "forget bias"


def test_the_map_leaves_a_missing_cell_empty():
    figure = solved.solved_map([row for row in ROWS if (row["variant"], row["length"]) != ("1", 50)])
    shown = figure.axes[0].images[0].get_array()
    assert len(texts(figure.axes[0])) == 11 and bool(np.ma.getmaskarray(shown)[1, 2])


def test_curves_by_length_show_the_median_the_seeds_and_chance():
    figure = variants.curve_by_length(ROWS, chance={10: 0.125, 100: 0.125}, legend="forget bias")
    axes = figure.axes[0]
    medians = [line for line in axes.lines if line.get_label() in ("0", "1", "chrono(length)")]
    assert len(medians) == 3
    np.testing.assert_allclose(medians[0].get_ydata(), [1, 1, 1, 0.145])
    assert sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == ".") == len(ROWS)
    assert texts(axes) == ["chance\n0.125"]
    assert axes.get_xscale() == "log" and "steps" in axes.get_xlabel()


def test_a_chance_that_depends_on_the_length_is_a_curve():
    axes = variants.curve_by_length(ROWS, chance={10: 0.3, 100: 0.1}).axes[0]
    assert any(line.get_label() == "chance" for line in axes.lines)


def test_a_run_that_ended_keeps_its_last_value():
    steps, median, low, high = variants.median_over_seeds(
        [([1, 2], [0.5, 1.0]), ([1, 2, 3], [0.1, 0.2, 0.3])]
    )
    np.testing.assert_array_equal(steps, [1, 2, 3])
    np.testing.assert_allclose(median, [0.3, 0.6, 0.65])
    np.testing.assert_allclose(low, [0.1, 0.2, 0.3])
    np.testing.assert_allclose(high, [0.5, 1.0, 1.0])
    late = variants.median_over_seeds([([2], [1.0]), ([1, 3], [0.0, 0.5])], "quartiles")
    np.testing.assert_allclose(late[1], [0.0, 0.5, 0.75])
    np.testing.assert_allclose(late[2], [0.0, 0.25, 0.625])


def test_learning_bands_draw_a_line_and_a_band_a_variant():
    curves = {"0": [([10, 20], [0.1, 0.2]), ([10, 20], [0.2, 0.4])], "1": [([10], [0.9])], "none": [([], [])]}
    figure = variants.learning_bands(curves, chance=0.125)
    axes = figure.axes[0]
    assert len(axes.collections) == 2
    assert texts(axes) == ["chance\n0.125"] and axes.get_xlabel() == "training steps"


def test_chance_is_named_outside_the_axes_where_no_point_lies():
    for figure in (
        variants.curve_by_length(ROWS, chance=0.125),
        variants.learning_bands({"0": [([10, 20], [0.1, 0.125])]}, chance=0.125),
    ):
        figure.canvas.draw()
        axes = figure.axes[0]
        (text,) = axes.texts
        assert text.get_window_extent().x0 >= axes.get_window_extent().x1


def test_a_variant_that_ended_early_or_has_no_value_is_seen():
    """Solved at the first evaluation: a mark and a dotted line on; no finite value: the legend says it."""
    whole = ([10, 20, 30], [0.1, 0.2, 0.3])
    curves = {"slow": [whole], "fast": [([10], [1.0])], "lost": [([10, 20], [math.nan] * 2)]}
    figure = variants.learning_bands(curves, band="quartiles")
    axes = figure.axes[0]
    dotted = [line for line in axes.lines if line.get_linestyle() == ":" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in dotted] == [[10, 30]] and list(dotted[0].get_ydata()) == [1, 1]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["slow", "fast", "lost\n(no finite value)", "all its seeds\nhave ended"]


def test_as_many_variants_as_a_figure_shows_have_colours_and_markers_of_their_own():
    from lstm_jax.sweep.plots import MOST
    from lstm_jax.sweep.report.chart import SYMBOLS

    found = variants.looks(map(str, range(MOST))).values()
    assert len({look.colour for look in found}) == len({look.marker for look in found}) == MOST == 12
    assert {look.marker for look in found} <= set(SYMBOLS)


@pytest.mark.parametrize("steps", [[390], [200, 1400], [20, 90_000], [1, 3]])
def test_steps_to_solve_has_ticks_to_read_from(steps):
    rows = [
        {"variant": "a", "length": None, "solved": True, "solved_step": s, "steps": max(steps)} for s in steps
    ]
    labels = [text.get_text() for text in solved.steps_to_solve(rows).axes[0].get_yticklabels()]
    assert len(labels) >= 3 and len(set(labels)) == len(labels)


def test_a_map_of_one_column_is_bars_and_two_fields_make_two_axes():
    rows = [{"variant": v, "length": None, "solved": v == "a"} for v in "aab"]
    axes = solved.solved_map(rows).axes[0]
    assert [patch.get_width() for patch in axes.patches] == [1, 0] and texts(axes) == ["2/2", "0/1"]
    rows = [{"variant": v, "length": k, "solved": k == "two"} for v in "ab" for k in ("two", "one")]
    axes = solved.solved_map(rows, length_label="kind").axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["two", "one"], "as they come"
    np.testing.assert_array_equal(axes.images[0].get_array(), [[1, 0], [1, 0]])


@pytest.mark.parametrize("rows", [ROWS, [row for row in ROWS if row["length"] == 10]])
def test_steps_to_solve_marks_the_unsolved_on_top(rows):
    axes = solved.steps_to_solve(rows, legend="forget bias").axes[0]
    drawn = [line for line in axes.lines if len(line.get_xdata())]
    marks = [line for line in drawn if line.get_marker() not in ("None", None, "")]
    assert len(marks) == len(rows)
    unsolved = [line for line in marks if line.get_markerfacecolor() == "none"]
    assert len(unsolved) == sum(not row["solved"] for row in rows)
    assert min(line.get_ydata()[0] for line in unsolved) > 5000
    assert axes.get_yscale() == "log"
    assert [t.get_text() for t in axes.get_yticklabels()][-1] == "not solved"


def test_the_figures_can_be_saved_to_a_buffer_without_a_display():
    for figure in (
        solved.solved_map(ROWS),
        solved.steps_to_solve(ROWS),
        variants.curve_by_length(ROWS),
        variants.learning_bands({"a": [([1], [2.0])]}, metric="perplexity"),
    ):
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=50)
        assert buffer.getvalue()[:4] == b"\x89PNG"


def write_result(directory: Path, accuracy: float, step: int | None, **more: Any) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    result = more | {
        "figures": {"static": {"test": {"nats": 1.0, "accuracy": accuracy}}},
        "chance": {"nats": 2.0},
        "solved": step is not None,
        "solved_step": step,
    }
    (directory / "result.json").write_text(json.dumps(result))


HARMFUL = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", " =1"]


def test_no_cell_is_a_formula_to_a_spreadsheet(tmp_path):
    """Names of variants and errors are anyone's texts; numbers stay numbers."""
    write_sweep(tmp_path, [{"variant": text} for text in HARMFUL] + [{"variant": "-0.5"}])
    for name in ("m0", "m1"):
        record_failure(tmp_path / "members" / name, UserError(HARMFUL[0]))
    summarise(tmp_path)
    for name in ("members.csv", "summary.csv"):
        with open(tmp_path / name, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["variant"] for row in rows] == [f"'{text}" for text in HARMFUL] + ["-0.5"]
        for row in rows:
            assert not any(
                str(cell).lstrip(" ").startswith(FORMULA) for cell in row.values() if cell != "-0.5"
            )


def write_sweep(directory: Path, labels: list[dict[str, Any]]) -> dict[str, Any]:
    """A sweep.json of members m0, m1, ... of which none has begun."""
    members = [
        {"name": f"m{index}", "seed": 1, "labels": own, "overrides": {}} for index, own in enumerate(labels)
    ]
    record = {"members": members, "base": {}, "length": "", "length_label": "", "metric": "accuracy"}
    (directory / "sweep.json").write_text(json.dumps(record))
    return record


@pytest.mark.parametrize("content", ['"text"', "[]", "null", "3", '{"error": 3}', "{", "[" * 100_000])
def test_a_failure_that_is_no_record_is_a_failure_all_the_same(tmp_path, content):
    write_sweep(tmp_path, [{}])
    (tmp_path / "members" / "m0").mkdir(parents=True)
    (tmp_path / "members" / "m0" / "failure.json").write_text(content)
    (row,) = rows_of(tmp_path)
    assert row["status"] == "failed" and isinstance(row["error"], str)
    summarise(tmp_path)


@pytest.mark.parametrize(
    "content, problem",
    [
        ("[]", "is a list"),
        ("null", "is a NoneType"),
        ("3", "is a int"),
        ("[" * 100_000, "cannot be read"),
        ({"members": None}, "'members' must be a list"),
        ({"members": [3]}, r"members\[0\] is a int"),
        ({"members": [{"name": "a"}]}, r"members\[0\]: 'seed' must be a int, and is missing"),
        ({"members": [{"name": "../a", "seed": 1, "labels": {}, "overrides": {}}]}, "is no name"),
        ({"length": 3}, "'length' must be a str"),
        ({"base": []}, "'base' must be a dict"),
    ],
)
def test_a_record_of_another_shape_is_refused_in_one_line(tmp_path, content, problem):
    record = write_sweep(tmp_path, [{}])
    text = json.dumps(record | content) if isinstance(content, dict) else content
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(UserError, match=problem) as refused:
        summarise(tmp_path)
    assert "sweep.json" in str(refused.value) and "\n" not in str(refused.value)


def test_the_live_line_counts_solved_best_and_time_left(tmp_path):
    config = base.get_config("delayed_recall")
    config.train.epochs = 4
    members = expand(config, {"grid": {"task.length": [10, 30]}, "seeds": 2}).members
    paths, now, stream = SweepPaths(tmp_path), [0.0], io.StringIO()
    write_result(paths.member(members[0].name), 0.5, None)
    board = Dashboard(paths, members, stream=stream, live=False, clock=lambda: now[0])
    with board:
        assert board.line().startswith("1/4 members | 0 solved | best accuracy 0.5 (length=10,seed=1)")
        assert "left" not in board.line(), "nothing tells the pace yet"
        board.started(members[1].name)
        now[0] = 10.0
        write_result(paths.member(members[1].name), 1.0, 400)
        board.ended(members[1].name, "finished")
        board.started(members[2].name)
        metrics = paths.member(members[2].name) / "metrics.jsonl"
        metrics.parent.mkdir()
        metrics.write_text('{"step": 1, "kind": "train", "epoch": 1.0}\n{"step": 2, "ki')
        now[0] = 20.0
        line = board.line()
    assert "2/4 members | 1 solved | best accuracy 1 (length=10,seed=2)" in line
    assert "length=30,seed=1 25%" in line
    # A member of length 10 took 10 s, so that one of 30 takes 30 s: 20 s of it are left, and the next.
    assert "0:50 left" in line
    assert stream.getvalue() == "2/4 length=10,seed=2: test accuracy 1, solved at step 400; 1:00 left\n"


@pytest.fixture
def race(tmp_path):
    """(board, clock, paths, names): 8 members of one length and two biases, none begun."""
    config = base.get_config("delayed_recall")
    config.train.epochs = 10
    members = expand(config, {"grid": {"model.cell.forget_bias": [0, 1]}, "seeds": 4}).members
    paths, now = SweepPaths(tmp_path), [0.0]
    board = Dashboard(paths, members, stream=io.StringIO(), live=False, clock=lambda: now[0])
    return board, now, paths, [member.name for member in members]


def reach(paths: SweepPaths, name: str, epoch: float) -> None:
    metrics = paths.member(name) / "metrics.jsonl"
    metrics.parent.mkdir(exist_ok=True, parents=True)
    metrics.write_text(json.dumps({"step": 1, "kind": "train", "epoch": epoch}) + "\n")


def test_time_left_knows_early_stops_and_workers(race):
    """Two workers; the first two members stop after 2 of 10 epochs, at 10 s, as others of theirs will."""
    board, now, paths, names = race
    for name in names[:2]:
        board.started(name)
        reach(paths, name, 2.0)
    now[0] = 10.0
    assert board.seconds_left() == pytest.approx(40 + 3 * 50), "before anything ends: all of their epochs"
    for name in names[:2]:
        write_result(paths.member(name), 1.0, 400)
        board.ended(name, "finished")
    # Six members of 10 s on two workers.
    assert board.seconds_left() == pytest.approx(30)
    for name in names[2:4]:
        board.started(name)
    now[0] = 14.0
    assert board.seconds_left() == pytest.approx(6 + 20)


def test_time_left_of_a_member_that_outlives_its_kind_is_its_own(race):
    board, now, paths, names = race
    for name in names[:-1]:
        board.started(name)
        now[0] += 10.0
        write_result(paths.member(name), 1.0, 400)
        board.ended(name, "finished")
    board.started(names[-1])
    began = now[0]
    now[0] = began + 4.0
    assert board.seconds_left() == pytest.approx(6)
    now[0] = began + 20.0
    reach(paths, names[-1], 5.0)
    assert board.seconds_left() == pytest.approx(20), "half of its epochs in 20 s"
    write_result(paths.member(names[-1]), 0.5, None)
    board.ended(names[-1], "finished")
    assert board.seconds_left() == 0


def test_a_sweep_that_goes_on_knows_what_members_took_before(race):
    board, _, paths, names = race
    write_result(paths.member(names[0]), 1.0, 400, seconds=7.0)
    again = Dashboard(paths, board._members.values(), live=False, stream=io.StringIO())
    assert again.seconds_left() == pytest.approx(7 * 7.0)
