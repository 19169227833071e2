"""Confusion matrix, F1 and calibration against scikit-learn and plain loops."""

import numpy as np
import pytest

from lstm_jax.analysis import calibration, confusion, style
from lstm_jax.support.errors import UserError


def drawn(count=200, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.5), count)
    return probabilities, rng.integers(0, classes, count)


def test_the_matrix_and_f1_by_a_loop():
    probabilities, true = drawn()
    said = probabilities.argmax(1)
    matrix = confusion.confusion(true, said, 5)  # class 4 never occurs
    expected = np.zeros((5, 5), int)
    for t, s in zip(true, said, strict=True):
        expected[t, s] += 1
    np.testing.assert_array_equal(matrix, expected)
    found = confusion.quality(matrix)
    assert found.accuracy == np.mean(true == said)
    for k in range(5):
        hits = sum(t == s == k for t, s in zip(true, said, strict=True))
        f1 = 2 * hits / max(sum(true == k) + sum(said == k), 1)
        assert found.f1[k] == pytest.approx(f1)
    assert found.macro_f1 == pytest.approx(found.f1.mean()) and found.f1[4] == 0


def test_quality_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    probabilities, true = drawn(seed=1)
    said = np.minimum(probabilities.argmax(1), 2)  # class 3 is never said
    found = confusion.quality(confusion.confusion(true, said, 4))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        true, said, labels=range(4), zero_division=0
    )
    np.testing.assert_allclose((found.precision, found.recall, found.f1), (precision, recall, f1))
    assert found.macro_f1 == pytest.approx(metrics.f1_score(true, said, average="macro", zero_division=0))


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_calibration_by_a_loop(bins):
    probabilities, true = drawn()
    probabilities[0] = [1, 0, 0, 0]  # on the last edge
    found = calibration.calibration(probabilities, true, bins)
    sure, right = probabilities.max(1), probabilities.argmax(1) == true
    ece = 0.0
    for k in range(bins):
        inside = (sure > k / bins) & (sure <= (k + 1) / bins)
        assert found.answers[k] == inside.sum()
        if inside.any():
            assert found.confidence[k] == pytest.approx(sure[inside].mean())
            assert found.accuracy[k] == pytest.approx(right[inside].mean())
            ece += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
        else:
            assert np.isnan(found.confidence[k]) and np.isnan(found.accuracy[k])
    assert found.ece == pytest.approx(ece)
    brier = np.mean([((p - np.eye(4)[t]) ** 2).sum() for p, t in zip(probabilities, true, strict=True)])
    assert found.brier == pytest.approx(brier)


def test_reliability_is_scikit_learns_of_two_classes():
    curve = pytest.importorskip("sklearn.calibration").calibration_curve
    probabilities, true = drawn(classes=2, seed=2)
    sure, right = probabilities.max(1), probabilities.argmax(1) == true
    accuracy, confidence = curve(right, sure, n_bins=10)
    found = calibration.calibration(probabilities, true, 10)
    there = found.answers > 0
    np.testing.assert_allclose(found.accuracy[there], accuracy)
    np.testing.assert_allclose(found.confidence[there], confidence)


def test_one_who_is_always_sure_and_half_right_is_half_off():
    probabilities = np.tile([1.0, 0.0], (10, 1))
    found = calibration.calibration(probabilities, np.arange(10) % 2)
    assert found.ece == 0.5 and found.mean_confidence == 1 and found.mean_accuracy == 0.5 and found.brier == 1


def test_figures_are_drawn_of_few_and_of_many_classes(tmp_path):
    for classes in (2, 60):
        matrix = np.random.default_rng(0).integers(0, 9, (classes, classes))
        confusion.figure(matrix, [f"a label {k}" for k in range(classes)], title="t").savefig(
            tmp_path / "a.png"
        )
    calibration.figure(calibration.calibration(*drawn(3)), title="t").savefig(tmp_path / "b.png")


HOSTILE = ["$$", r"$\x$", "a\nb\t\x1b[2J", "windows on a screen", "x" * 500, "\u4e2d\u6587"]


def test_labels_are_drawn_as_they_stand_whatever_they_are(tmp_path, caplog, recwarn):
    drawn = confusion.figure(np.eye(len(HOSTILE), dtype=int), HOSTILE, title="runs/$^$: \u4e2d")
    for _ in range(2):
        drawn.savefig(tmp_path / "a.png")
    names = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert names[:4] == ["$$", r"$\x$", "a\u21b5b\u21e5\\x1b[2J", "windows on a screen"]
    assert len(names[4]) == 24
    assert [record.getMessage() for record in caplog.records] == [
        "matplotlib's font has no \u4e2d\u6587: boxes stand for that in the figure"
    ]
    assert not recwarn.list


def test_the_powers_of_ten_of_a_logarithmic_axis_stay_formulas(tmp_path):
    drawn = style.new_figure(3)
    axes = drawn.add_subplot(title="$^$")
    axes.loglog([1, 4], [1e-5, 1e5])
    drawn.savefig(tmp_path / "a.png")
    for label in [*axes.get_yticklabels(), *axes.get_xticklabels(minor=True)]:
        assert label.get_parse_math() and (not label.get_text() or label.get_text().startswith("$"))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: confusion.confusion([], [], 2), "at least one"),
        (lambda: confusion.confusion([0, 1], [0], 2), "as many"),
        (lambda: confusion.confusion([0, 2], [0, 1], 2), "not one of the 2"),
        (lambda: confusion.confusion([0, -1], [0, 1], 2), "not one of the 2"),
        (lambda: calibration.calibration(np.zeros((0, 2)), []), "at least one"),
        (lambda: calibration.calibration(np.ones((1, 2)), [0], 0), "bins=0"),
    ],
)
def test_what_cannot_be_counted(call, said):
    with pytest.raises(UserError, match=said):
        call()
