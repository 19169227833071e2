"""Parallel coordinates and marginals draw what they are given."""

import csv
import io
import math

import numpy as np
import pytest

from lstm_jax.analysis.files import COLUMNS, Print, figure_data, save_figures
from lstm_jax.analysis.marginals import Panel, marginals
from lstm_jax.analysis.parallel_coordinates import (
    jitter,
    metric_scale,
    number_scale,
    parallel_coordinates,
    scale_of,
)
from lstm_jax.analysis.style import new_figure
from lstm_jax.analysis.variants import learning_bands
from lstm_jax.support.errors import UserError


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
    assert len(bars) == 1 and bars[0].get_xdata()[0] > max(dots[0].get_xdata()), "beside the dots, with caps"
    assert bars[0].get_marker() == "_"
    assert [text.get_text() for text in first.get_xticklabels()] == ["0", "1"]
    assert first.get_xlabel() == "forget bias" and "test accuracy" in first.get_ylabel()
    assert not [line for line in second.lines if line.get_marker() == "D"]
    figure.savefig(io.BytesIO(), dpi=50)


def test_figures_are_written_in_every_format_with_their_data(tmp_path):
    """PDF embeds its fonts as TrueType (type 42); a figure of one column is as wide as a column."""
    panel = Panel("forget_bias", ["=0", "=0", "1"], [0.2, 0.4, math.nan], {"1": (0.3, 0.2, 0.4)})
    figures = {"marginals": marginals([panel]), "lines": learning_bands({"a": [([1, 2], [0.5, 0.6])]})}
    files = save_figures(figures, tmp_path / "two", Print.of("png, pdf,svg"))
    assert sorted(file.name for file in files) == sorted(
        f"{name}.{form}" for name in figures for form in ("png", "pdf", "svg")
    )
    pdf = (tmp_path / "two" / "lines.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf, "TrueType, embedded"
    again = save_figures(figures, tmp_path / "again", Print(("pdf", "svg")))
    assert all(file.read_bytes() == (tmp_path / "two" / file.name).read_bytes() for file in again)
    with open(tmp_path / "two" / "marginals.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["setting"] for row in rows] == ["'=0", "'=0", "1", "1"]
    assert (
        rows[3] | {"field": "forget_bias", "kind": "mean", "value": "0.3", "low": "0.2", "high": "0.4"}
        == rows[3]
    )
    with open(tmp_path / "two" / "lines.csv", encoding="utf-8", newline="") as file:
        lines = [row for row in csv.DictReader(file) if row["kind"] == "line"]
    assert [(row["series"], float(row["x"]), float(row["y"])) for row in lines] == [
        ("a", 1, 0.5),
        ("a", 2, 0.6),
    ]
    wide = {"lines": learning_bands({"a": [([1, 2], [0.5, 0.6])], "b": [([1, 2], [0.4, 0.2])]})}
    save_figures(wide, tmp_path / "one", Print.of("png", 1))
    assert wide["lines"].get_figwidth() == COLUMNS[1] < 3.5


@pytest.mark.parametrize("formats, columns", [("", 2), ("jpg", 2), ("png", 3), ("png,pfd", 1)])
def test_unknown_formats_and_widths_are_refused(formats, columns):
    with pytest.raises(UserError):
        Print.of(formats, columns)


@pytest.mark.parametrize("bars", [True, False])
def test_bars_and_maps_are_data_too(bars):
    figure = new_figure(2.0)
    axes = figure.subplots()
    if bars:
        axes.barh(["x", "y"], [1.0, 3.0])
        expected = [("bar", "x", 1.0), ("bar", "y", 3.0)]
        found = [(row["kind"], row["y"], row["value"]) for row in figure_data(figure)]
    else:
        axes.imshow([[1.0, 2.0], [3.0, 4.0]])
        axes.set_xticks([0, 1], ["left", "right"])
        expected = [("left", 0.0, 1.0), ("right", 0.0, 2.0), ("left", 1.0, 3.0), ("right", 1.0, 4.0)]
        found = [(row["x"], row["y"], row["value"]) for row in figure_data(figure)]
    assert found == expected
