"""Intervals against closed forms, scipy, plain loops, and their coverage on simulated seeds."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from lstm_jax.sweep import statistics
from lstm_jax.sweep.statistics import bootstrap, over_seeds, paired, wilson


def test_for_many_values_it_is_the_normal_interval_and_the_same_every_time():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    mean, low, high = bootstrap(values)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert mean == pytest.approx(values.mean())
    assert low == pytest.approx(mean - half, abs=0.1 * half)
    assert high == pytest.approx(mean + half, abs=0.1 * half)
    assert bootstrap(values) == (mean, low, high)


def test_what_is_not_finite_or_alone_has_no_interval():
    assert bootstrap([2.0, math.nan])[0] == 2.0 and math.isnan(bootstrap([2.0])[1])
    assert all(map(math.isnan, bootstrap([])))
    assert bootstrap([1.0, 1.0, 1.0]) == (1.0, 1.0, 1.0)


def test_the_bounds_are_quantiles_of_all_resamples_at_the_expanded_levels():
    """Five values have 3,125 resamples: their exact distribution, by a plain loop; levels by scipy.stats."""
    values = [0.1, 0.4, 0.5, 0.9, 1.7]
    means = sorted(sum(drawn) / 5 for drawn in itertools.product(values, repeat=5))
    tail = scipy.stats.norm.cdf(-math.sqrt(5 / 4) * scipy.stats.t.ppf(0.975, df=4))
    exact = [means[math.floor(level * (len(means) - 1))] for level in (tail, 1 - tail)]
    # 0.1 % of 10,000 resamples are 10 of them: the neighbouring means lie within 0.06.
    assert bootstrap(values)[1:] == pytest.approx(exact, abs=0.06)
    plain = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", confidence_level=1 - 2 * tail, rng=np.random.default_rng(3)
    )
    assert bootstrap(values)[1:] == pytest.approx(list(plain.confidence_interval), abs=0.06)


def coverage(interval, pairs: np.ndarray, truth: float) -> float:
    inside = [low <= truth <= high for low, high in map(interval, pairs)]
    return float(np.mean(inside))


def test_the_interval_covers_what_it_says_where_plain_percentiles_do_not(monkeypatch):
    """400 times five seeds of a normal metric; the standard error of the coverage is 1.2 %."""
    monkeypatch.setattr(statistics, "RESAMPLES", 2000)
    statistics._draws.cache_clear()
    samples = np.random.default_rng(0).normal(1.0, 0.3, (400, 5))
    ours = coverage(lambda values: bootstrap(values)[1:], samples, 1.0)
    drawn = statistics._draws(5, 0)
    plain = coverage(lambda values: np.quantile(values[drawn].mean(1), [0.025, 0.975]), samples, 1.0)
    statistics._draws.cache_clear()
    print(ours, plain)
    assert 0.91 <= ours <= 0.98
    assert plain < 0.87


@pytest.mark.parametrize(("seeds", "covered"), [(2, 0.5), (3, 0.75), (4, 0.875)])
def test_of_few_seeds_it_is_their_range_and_covers_what_is_said_of_it(seeds, covered):
    """The centre of a symmetric distribution lies beyond the range of n draws with probability 2^(1 - n)."""
    samples = np.random.default_rng(seeds).normal(size=(200, seeds))
    found = np.array([bootstrap(values)[1:] for values in samples])
    np.testing.assert_allclose(found, np.stack([samples.min(1), samples.max(1)], 1))
    # 200 samples: the share is off by 0.14 once in ten thousand times; this draw is always the same.
    assert coverage(lambda values: bootstrap(values)[1:], samples, 0.0) == pytest.approx(covered, abs=0.1)


def unpaired(values: np.ndarray, baseline: np.ndarray) -> float:
    """Width of the interval of the difference of two samples that are resampled each on its own."""
    rng = np.random.default_rng(0)
    means = [x[rng.integers(0, len(x), (10_000, len(x)))].mean(1) for x in (values, baseline)]
    low, high = np.quantile(means[0] - means[1], statistics._levels(len(values), 0.95))
    return float(high - low)


@pytest.mark.parametrize(("correlated", "least", "most"), [(True, 0.05, 0.5), (False, 0.7, 1.4)])
def test_the_paired_interval_is_narrower_where_seeds_correlate(correlated, least, most):
    rng = np.random.default_rng(5)
    baseline = rng.normal(100.0, 5.0, 8)
    own = baseline if correlated else rng.normal(100.0, 5.0, 8)
    values = own - 2.0 + rng.normal(0.0, 0.5, 8)
    found = paired(dict(enumerate(values)), dict(enumerate(baseline)))
    assert found.mean == pytest.approx((values - baseline).mean())
    assert least < (found.high - found.low) / unpaired(values, baseline) < most


def test_the_paired_interval_covers_the_difference():
    rng = np.random.default_rng(2)
    inside = []
    for _ in range(200):
        seeds = rng.normal(0, 3.0, 5)
        values, baseline = seeds + rng.normal(0.5, 1, 5), seeds + rng.normal(0, 1, 5)
        found = paired(dict(enumerate(values)), dict(enumerate(baseline)))
        inside.append(found.low <= 0.5 <= found.high)
    assert 0.89 <= np.mean(inside) <= 0.99


def test_pairs_are_the_seeds_that_both_have():
    values = {1: 1.0, 2: 3.0, 3: math.nan, 5: 9.0}
    found = paired(values, {2: 1.0, 1: 0.5, 3: 1.0, 4: 7.0})
    assert (found.mean, found.pairs) == (pytest.approx((0.5 + 2.0) / 2), 2)
    none = paired({1: 1.0}, {2: 1.0})
    assert none.pairs == 0 and math.isnan(none.mean)


def test_settings_are_averaged_before_seeds_are_resampled():
    values = {setting: {seed: 10.0 * setting + seed for seed in (1, 2, 3)} for setting in (0, 1)}
    assert over_seeds(values) == bootstrap([6.0, 7.0, 8.0])


@pytest.mark.parametrize("lacking", [{1: 3.0}, {1: 3.0, 2: math.nan}, {1: 3.0, 2: math.inf}])
def test_a_setting_that_lacks_a_seed_is_left_out(lacking):
    """Its value would tell the seeds apart: 2.0 and 1.0 where both have 1.0 in what both have."""
    assert over_seeds({"both": {1: 1.0, 2: 1.0}, "one": lacking}) == (1.0, 1.0, 1.0)
    assert math.isnan(over_seeds({"a": {1: 1.0}, "b": {2: 1.0}})[0]) and math.isnan(over_seeds({})[0])


@pytest.mark.parametrize(("successes", "total"), [(0, 5), (5, 5), (3, 5), (1, 1), (40, 100)])
def test_wilson_is_scipys(successes, total):
    theirs = scipy.stats.binomtest(successes, total).proportion_ci(0.95, method="wilson")
    assert wilson(successes, total) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_of_nothing():
    assert all(map(math.isnan, wilson(0, 0)))
