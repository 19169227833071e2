"""Parallel coordinates and marginals draw what they are given."""

import io
import math

import numpy as np
import pytest

from lstm_jax.analysis.marginals import Panel, marginals
from lstm_jax.analysis.parallel_coordinates import (
    jitter,
    metric_scale,
    number_scale,
    parallel_coordinates,
    scale_of,
)


def test_numbers_are_spaced_by_size_and_names_evenly():
    numbers = scale_of([10, 100, 1000, 10])
    assert numbers.logarithmic and numbers.at == pytest.approx([0, 0.5, 1, 0])
    assert numbers.ticks == [
        (pytest.approx(0), "10"),
        (pytest.approx(0.5), "100"),
        (pytest.approx(1), "1,000"),
    ]
    assert scale_of([2, 3, 4]).at == [0, 0.5, 1] and not scale_of([2, 3, 4]).logarithmic
    assert scale_of(["b", "a", "b", "c"]) == ([0, 0.5, 0, 1], [(0, "b"), (0.5, "a"), (1, "c")], False)
    assert scale_of([True, False]).ticks == [(0, "True"), (1, "False")]


def test_what_is_not_finite_has_no_place_and_what_is_the_same_stands_in_the_middle():
    scale = number_scale([0.0, math.nan, 2.0, math.inf])
    assert scale.at[::2] == [0, 1] and math.isnan(scale.at[1]) and math.isnan(scale.at[3])
    assert number_scale([3.0, 3.0]) == ([0.5, 0.5], [(0.5, "3")], False)
    assert all(0 <= place <= 1 for place, _ in number_scale([0.013, 0.9]).ticks)


def test_shares_are_linear_and_other_metrics_logarithmic_where_they_span_much():
    assert metric_scale([0.01, 0.505, 1.0]).at == pytest.approx([0, 0.5, 1])
    assert metric_scale([1.0, 10.0, 100.0]).at == pytest.approx([0, 0.5, 1])


def test_jitter_keeps_neighbours_apart():
    shifts = sorted(jitter(index) for index in range(5))
    assert shifts[0] >= -0.5 and shifts[-1] < 0.5 and min(np.diff(shifts)) > 0.1


def test_a_line_a_run_coloured_by_its_metric_and_failed_ones_apart():
    figure = parallel_coordinates({"bias": ["0", "0", "1"], "length": [5, 9, 9]}, [0.2, 0.9, math.nan])
    (axes,) = figure.axes
    failed, ended = axes.collections
    assert (len(failed.get_segments()), len(ended.get_segments())) == (1, 2)
    np.testing.assert_allclose(ended.get_array(), [0, 1])
    assert ended.get_segments()[1][-1].tolist() == [2, 1] and failed.get_segments()[0][-1][1] < 0
    assert [text.get_text() for text in axes.get_xticklabels()] == ["bias", "length", "test accuracy"]
    assert "failed" in [text.get_text() for text in axes.texts]
    figure.savefig(io.BytesIO(), dpi=50)


def test_a_panel_a_field_with_dots_means_and_intervals():
    panel = Panel("forget_bias", ["0", "0", "1"], [0.2, 0.4, math.nan], {"0": (0.3, 0.2, 0.4)})
    other = Panel("rate", [0.1, 0.2, 0.3], [0.1, 0.2, 0.3], {})
    figure = marginals([panel, other], metric="accuracy", chance=0.125)
    first, second = figure.axes
    dots = [line for line in first.lines if line.get_marker() == "."]
    assert [len(line.get_xdata()) for line in dots] == [2]
    bars = [line for line in first.lines if list(line.get_ydata()) == [0.2, 0.4] and line not in dots]
    assert len(bars) == 1 and bars[0].get_xdata()[0] == 0
    assert [text.get_text() for text in first.get_xticklabels()] == ["0", "1"]
    assert first.get_xlabel() == "forget bias" and "test accuracy" in first.get_ylabel()
    assert not [line for line in second.lines if line.get_marker() == "D"]
    figure.savefig(io.BytesIO(), dpi=50)
