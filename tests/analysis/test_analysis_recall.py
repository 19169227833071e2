"""Recall curves hold what was evaluated, and draw chance."""

import numpy as np
import pytest

from lstm_jax.analysis import recall
from lstm_jax.support.errors import UserError

FOUND = {
    100: [{"accuracy": 0.5, "nats": 1.0}, {"accuracy": 0.1, "nats": 2.0}],
    10: [{"accuracy": 1.0, "nats": 0.0}, {"accuracy": 0.8, "nats": 0.2}, {"accuracy": 0.9, "nats": 0.1}],
}


def test_median_and_range_over_seeds_at_rising_lengths():
    found = recall.recall(FOUND, "accuracy", 0.125)
    assert found.lengths.tolist() == [10, 100]
    np.testing.assert_allclose(found.middle, [0.9, 0.3])
    assert found.low.tolist() == [0.8, 0.1] and found.high.tolist() == [1.0, 0.5]
    assert found.chance.tolist() == [0.125, 0.125]
    np.testing.assert_array_equal(found.values, [[1.0, 0.8, 0.9], [0.5, 0.1, np.nan]])
    levels = recall.recall(FOUND, "nats", {10: 2.0, 100: 3.0}).chance
    assert levels.tolist() == [2, 3]


def test_figure_draws_every_seed_the_band_and_chance(tmp_path):
    curves = {name: recall.recall(FOUND, "accuracy", 0.125) for name in ("forget bias 0", "chrono")}
    figure = recall.figure(curves, trained=10, bound=0.99, title="delayed recall", length="lag (steps)")
    (axes,) = figure.axes
    labels = axes.get_legend_handles_labels()[1]
    assert labels == [
        "chance", "forget bias 0 (3 seeds: median, range)", "chrono (3 seeds: median, range)"
    ]  # fmt: skip
    drawn = [np.asarray(line.get_xydata()).tolist() for line in axes.get_lines()]
    assert drawn.count([[10, 0.125], [100, 0.125]]) == 1  # one level, though there are two curves
    assert drawn.count([[10, 0.9], [100, 0.3]]) == 2
    assert sum(len(points) == 6 for points in drawn) == 2  # a dot a seed
    assert {text.get_text() for text in axes.texts} == {"solved: 0.99", "trained at 10"}
    assert axes.get_xlabel() == "lag (steps)" and axes.get_ylabel() == "accuracy"
    figure.savefig(tmp_path / "x.png")


def test_a_length_of_0_is_drawn_on_a_linear_axis(tmp_path):
    few, many = (
        recall.figure({"lstm": recall.recall({n: FOUND[10] for n in lengths}, "accuracy", 0.1)}, trained=0)
        for lengths in ((0, 8, 16), (2, 8, 16))
    )
    assert few.axes[0].get_xscale() == "linear" and few.axes[0].get_xticks().tolist() == [0, 8, 16]
    assert many.axes[0].get_xscale() == "log"
    few.savefig(tmp_path / "x.png")


def test_a_criterion_that_differs_by_length_is_a_line(tmp_path):
    curve = {"lstm": recall.recall(FOUND, "nats", 2.0)}
    figure = recall.figure(curve, metric="nats", bound={100: 0.2, 10: 0.5})
    (axes,) = figure.axes
    assert [[10, 0.5], [100, 0.2]] in [np.asarray(line.get_xydata()).tolist() for line in axes.get_lines()]
    assert "solved" in axes.get_legend_handles_labels()[1] and not axes.texts
    figure.savefig(tmp_path / "x.png")
    (axes,) = recall.figure(curve, metric="nats", bound={10: 0.5, 100: 0.5}).axes
    assert [text.get_text() for text in axes.texts] == ["solved: 0.5"]


def test_chance_levels_that_differ_are_all_drawn():
    curves = {
        "a": recall.recall(FOUND, "nats", {10: 2.0, 100: 3.0}),
        "b": recall.recall({20: FOUND[10]}, "nats", 5.0),
        "c": recall.recall(FOUND, "nats", {10: 2.0, 100: 4.0}),
    }
    (axes,) = recall.figure(curves, metric="nats", unit="nats").axes
    drawn = [np.asarray(line.get_xydata()).tolist() for line in axes.get_lines()]
    for level in ([[10, 2], [100, 3]], [[20, 5]], [[10, 2], [100, 4]]):
        assert level in drawn
    assert axes.get_legend_handles_labels()[1].count("chance") == 1


@pytest.mark.parametrize(
    ("evaluations", "metric", "chance", "said"),
    [
        ({}, "accuracy", 0.1, "one evaluation or more"),
        ({10: []}, "accuracy", 0.1, "one evaluation or more"),
        (FOUND, "accurate", 0.1, "allowed: accuracy, nats"),
        (FOUND, "accuracy", {10: 0.1}, "no chance level for length 100"),
    ],
)
def test_what_cannot_be_is_refused(evaluations, metric, chance, said):
    with pytest.raises(UserError, match=said):
        recall.recall(evaluations, metric, chance)
