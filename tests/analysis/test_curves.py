"""The learning curve draws what the rows hold, and nothing of pyplot's."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lstm_jax.analysis.curves import learning_curve

ROWS = [
    {"step": 10, "epoch": 0.5, "kind": "train", "perplexity": 300.0, "learning_rate": 1.0},
    {"step": 20, "epoch": 1.0, "kind": "train", "perplexity": 200.0, "learning_rate": 1.0},
    {"step": 20, "epoch": 1.0, "kind": "valid", "nats": 5.2, "perplexity": 180.0},
    {"step": 40, "epoch": 2.0, "kind": "train", "perplexity": 120.0, "learning_rate": 0.5},
    {"step": 40, "epoch": 2.0, "kind": "valid", "nats": 4.9, "perplexity": 130.0},
    {"step": 60, "epoch": 3.0, "kind": "valid", "nats": 5.0, "perplexity": 140.0},
]


def lines(axes):
    return {line.get_label(): np.asarray(line.get_xydata()) for line in axes.get_lines()}


def test_draws_the_rows_in_order_of_step_on_a_log_axis():
    upper, lower = learning_curve(reversed(ROWS)).axes
    drawn = lines(upper)
    np.testing.assert_array_equal(drawn["training"], [[0.5, 300], [1, 200], [2, 120]])
    np.testing.assert_array_equal(drawn["validation"], [[1, 180], [2, 130], [3, 140]])
    assert upper.get_yscale() == "log" and upper.get_ylabel() == "perplexity"
    (rate,) = lower.get_lines()
    np.testing.assert_array_equal(rate.get_ydata(), [1, 1, 0.5])
    assert lower.get_xlabel() == "epoch"


@pytest.mark.parametrize(("best", "at"), [("min", (2.0, 130.0)), ("max", (1.0, 180.0))])
def test_the_best_is_marked_and_named(best, at):
    drawn = lines(learning_curve(ROWS, best=best).axes[0])
    (label,) = (name for name in drawn if name.startswith("best"))
    np.testing.assert_array_equal(drawn[label], [at])
    assert label == f"best: {at[1]:g} at epoch {at[0]:g}"


def test_no_best_is_marked_when_none_is_asked_for():
    assert not any(name.startswith("best") for name in lines(learning_curve(ROWS, best="").axes[0]))


def test_levels_are_drawn_within_the_axes_and_labelled():
    upper = learning_curve(ROWS, levels={"uniform": 10_000, "unigram": 690.04}, title="a run").axes[0]
    heights = [line.get_ydata()[0] for line in upper.get_lines() if line.get_label().startswith("_")]
    assert heights == [10_000, 690.04]
    assert [text.get_text() for text in upper.texts] == ["uniform 10,000", "unigram 690"]
    low, high = upper.get_ylim()
    assert low < 120 and high > 10_000


def test_what_is_not_finite_or_missing_is_left_out():
    bad = [
        {"step": 70, "epoch": 4.0, "kind": "valid", "perplexity": math.nan},
        {"step": 80, "epoch": 5.0, "kind": "valid", "perplexity": math.inf},
        {"step": 90, "epoch": 6.0, "kind": "valid", "nats": 4.0},
        {"step": 95, "epoch": 6.0, "kind": "valid", "perplexity": None},
    ]
    drawn = lines(learning_curve(ROWS + bad).axes[0])
    assert drawn["validation"].shape == (3, 2)


def test_another_metric_by_step_is_on_a_linear_axis():
    rows = [{"step": step, "kind": "valid", "accuracy": step / 10} for step in range(3)]
    upper, lower = learning_curve(rows, metric="accuracy", best="max").axes
    assert upper.get_yscale() == "linear" and lower.get_xlabel() == "step"
    assert "best: 0.2 at step 2" in lines(upper)


def test_no_rows_say_so(tmp_path):
    figure = learning_curve([])
    assert figure.axes[0].texts[0].get_text() == "no perplexity yet"
    figure.savefig(tmp_path / "x.png")


def test_saves_without_a_display_and_without_pyplot(tmp_path):
    program = (
        "import sys; from lstm_jax.analysis.curves import learning_curve\n"
        f"learning_curve({ROWS!r}, levels={{'uniform': 10000}}).savefig(sys.argv[1])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path / "curves.png")],
        capture_output=True, text=True, env={"PATH": ""}, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
