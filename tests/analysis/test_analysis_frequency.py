"""Loss by frequency and by position: bins by hand, and that nothing is lost between them."""

import numpy as np
import pytest

from lstm_jax.analysis import frequency
from lstm_jax.support.errors import UserError


def test_bins_by_hand():
    found = frequency.bins([1.0, 3.0, 5.0, 2.0, 7.0], [0, 1, 2, 30, 3], (1, 3, 10, 30), level=[9, 1, 2, 3, 4])
    assert found.lower.tolist() == [0, 1, 3, 30] and found.upper.tolist() == [0, 2, 9, 30]  # 10 to 29: none
    assert found.tokens.tolist() == [1, 2, 1, 1]
    assert found.mean.tolist() == [1, 4, 7, 2] and found.total.tolist() == [1, 8, 7, 2]
    assert found.level.tolist() == [9, 1.5, 4, 3]
    np.testing.assert_allclose(found.error, [np.nan, 1.0, np.nan, np.nan])  # sd sqrt(2), of two tokens


def test_the_bins_add_up_to_the_whole():
    draw = np.random.default_rng(0)
    counts = (1e5 / np.arange(1, 301) ** 1.2).astype(int)  # Zipf, and words that never occur
    counts[-5:] = 0
    targets = draw.integers(0, 300, 5000)
    nats = draw.gamma(2.0, 2.0, 5000).astype(np.float32)
    for found in (
        frequency.by_frequency(nats, targets, counts),
        frequency.by_position(nats, targets, 3),
        frequency.by_position(nats, targets, 3, (4, 5)),
    ):
        assert found.tokens.sum() == 5000 and (found.tokens > 0).all()
        np.testing.assert_allclose(found.total.sum(), nats.sum(dtype=np.float64), rtol=1e-12)
        np.testing.assert_allclose(found.total, found.mean * found.tokens, rtol=1e-12)
        assert (found.lower[1:] > found.upper[:-1]).all()


def test_errors_are_those_of_numpy():
    draw = np.random.default_rng(1)
    nats, values = draw.normal(1000, 1, 900), draw.integers(0, 3, 900)  # a mean far above the spread
    found = frequency.bins(nats, values, (1, 2))
    for value, error in enumerate(found.error):
        mine = nats[values == value]
        np.testing.assert_allclose(error, mine.std(ddof=1) / np.sqrt(len(mine)), rtol=1e-9)


def test_by_frequency_has_the_unigram_model_beside():
    """A loss that is the unigram model's own equals its level in every bin; what never occurs has none."""
    counts = np.array([700, 200, 100, 0])
    targets = np.array([0, 1, 2, 0, 3])
    nats = [-np.log(0.7), -np.log(0.2), -np.log(0.1), -np.log(0.7), 4.0]
    found = frequency.by_frequency(nats, targets, counts, (1, 150, 500))
    np.testing.assert_allclose(found.level[1:], found.mean[1:], rtol=1e-12)
    assert found.lower[0] == 0 and np.isnan(found.level[0]) and found.mean[0] == 4


def test_positions_count_from_each_line_and_its_end_belongs_to_it():
    end = 9
    assert frequency.positions([1, 2, end, 3, end, end, 4], end).tolist() == [1, 2, 3, 1, 2, 1, 1]
    assert frequency.positions([end], end).tolist() == [1]
    found = frequency.by_position([1.0, 2, 3, 4, 5, 6, 7], [1, 2, end, 3, end, end, 4], end, (1, 2))
    assert found.tokens.tolist() == [4, 3] and found.total.tolist() == [18, 10]


def test_figure_names_the_bins_and_draws_the_mean(tmp_path):
    draw = np.random.default_rng(0)
    counts = (1e6 / np.arange(1, 301) ** 1.5).astype(int)
    targets, nats = draw.integers(0, 300, 5000), draw.gamma(2.0, 2.0, 5000)
    figure = frequency.figure(
        {
            "occurrences in training": frequency.by_frequency(nats, targets, counts),
            "position in the line (tokens)": frequency.by_position(nats, targets, 3),
        },
        mean=nats.mean(), title="a run",
    )  # fmt: skip
    upper, lower, *_ = figure.axes
    assert lower.get_xlabel() == "occurrences in training" and "nats" in upper.get_ylabel()
    assert upper.texts[0].get_text() == f"all tokens: {nats.mean():.2f}"
    names = [label.get_text() for label in lower.get_xticklabels()]
    assert "300-999" in names and "1k-3k" in names and names[0].startswith("100")
    figure.savefig(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: frequency.bins([1.0], [1, 2], (1,)), "do not fit"),
        (lambda: frequency.bins([], [], (1,)), "do not fit"),
        (lambda: frequency.bins([1.0], [1], (2, 2)), "must rise"),
        (lambda: frequency.by_frequency([1.0], [5], np.ones(5)), "none of the 5"),
    ],
)
def test_what_cannot_be_is_refused(call, said):
    with pytest.raises(UserError, match=said):
        call()
