"""Comparing two scores, and means over seeds."""

import math

import numpy as np
import pytest
from scipy import stats

from distilnas.errors import UsageError
from distilnas.ranking import mean_stderr, paired_bootstrap, pooled_bootstrap


def scores(noise: float, seed: int, n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal(n)
    return truth + noise * rng.standard_normal(n), truth


def test_a_better_score_is_found_better_and_turned_round_worse():
    good, truth = scores(0.3, seed=0)
    bad = truth + 3 * np.random.default_rng(1).standard_normal(len(truth))
    found = paired_bootstrap(good, bad, truth, seed=2, resamples=300)
    expected = stats.kendalltau(good, truth).statistic - stats.kendalltau(bad, truth).statistic
    assert found.difference == pytest.approx(expected, abs=1e-12)
    assert 0 < found.interval[0] < found.difference < found.interval[1]
    assert found.p_value == pytest.approx(1 / 300)
    turned = paired_bootstrap(bad, good, truth, seed=2, resamples=300)
    assert turned.difference == pytest.approx(-found.difference)
    assert turned.interval == pytest.approx((-found.interval[1], -found.interval[0]))


def test_equal_scores_do_not_differ():
    good, truth = scores(1.0, seed=3)
    found = paired_bootstrap(good, good, truth, seed=0, resamples=50)
    assert (found.difference, found.interval, found.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_pairing_narrows_the_interval():
    """Scores that share their noise: the difference varies less than two independent taus would."""
    a, truth = scores(1.0, seed=4)
    b = a + 0.05 * np.random.default_rng(5).standard_normal(len(a))
    low, high = paired_bootstrap(a, b, truth, seed=6, resamples=200).interval
    taus = [stats.kendalltau(a[i], truth[i]).statistic for i in np.random.default_rng(6).integers(80, size=(200, 80))]
    assert high - low < np.ptp(np.quantile(taus, [0.025, 0.975])) / 3


def test_p_value_is_twice_the_smaller_share_of_resamples():
    a, truth = scores(1.0, seed=8)
    b = truth + np.random.default_rng(9).standard_normal(len(truth))
    found = paired_bootstrap(a, b, truth, seed=5, resamples=100)
    draws = np.random.default_rng(5)
    differences = []
    for _ in range(100):
        i = draws.integers(80, size=80)
        differences.append(stats.kendalltau(a[i], truth[i]).statistic - stats.kendalltau(b[i], truth[i]).statistic)
    above = sum(d >= 0 for d in differences)
    assert 0 < above < 100
    assert found.p_value == pytest.approx(2 * min(above, 100 - above) / 100)


def test_p_values_of_equally_good_scores_are_uniform():
    """Two independent noisy readings of one truth: about a fifth of the p-values is below 0.2."""
    small = 0
    for seed in range(30):
        a, truth = scores(1.0, seed, n=40)
        b = truth + np.random.default_rng(1000 + seed).standard_normal(40)
        small += paired_bootstrap(a, b, truth, seed=seed, resamples=40).p_value < 0.2
    assert 1 <= small <= 13  # binomial(30, 0.2): about one in five hundred outside


def test_several_sets_pool_to_the_mean_of_their_differences_each_resampled_on_its_own():
    """Against scipy's tau on resamples that are drawn here set by set."""
    sets, taus = [], []
    for place, n in enumerate((30, 50)):
        a, truth = scores(1.0, seed=place, n=n)
        b = truth + 2 * np.random.default_rng(10 + place).standard_normal(n)
        sets.append((a, b, truth))
        resamples = [np.arange(n), *np.random.default_rng(3 + place).integers(n, size=(200, n))]
        taus.append([np.subtract(*(stats.kendalltau(x[i], truth[i]).statistic for x in (a, b))) for i in resamples])
    expected, *resampled = np.mean(taus, axis=0)
    found = pooled_bootstrap(sets, seed=3, resamples=200)
    assert found.difference == pytest.approx(expected, abs=1e-12)
    assert found.interval == pytest.approx(tuple(np.quantile(resampled, [0.025, 0.975])), abs=1e-12)
    smaller = min(np.mean(np.array(resampled) <= 0), np.mean(np.array(resampled) >= 0))
    assert found.p_value == pytest.approx(max(2 * smaller, 1 / 200))


def test_what_cannot_be_compared():
    a, truth = scores(1.0, seed=0)
    with pytest.raises(UsageError, match="same networks, got 80, 79 and 80"):
        paired_bootstrap(a, a[:-1], truth, seed=0)
    with pytest.raises(UsageError, match="two different numbers"):
        paired_bootstrap(a, np.ones(80), truth, seed=0)
    with pytest.raises(UsageError, match="at least one set of networks"):
        pooled_bootstrap([], seed=0)


def test_mean_and_standard_error():
    mean, error = mean_stderr([1.0, 2.0, 6.0])
    assert (mean, error) == pytest.approx((3.0, math.sqrt(7 / 3)))
    with pytest.raises(UsageError, match="at least two values, got 1"):
        mean_stderr([1.0])
