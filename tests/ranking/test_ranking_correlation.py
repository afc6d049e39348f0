"""Correlations against their definitions, intervals against resamples made one by one, the published table."""

import itertools
import math

import macro_table
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from distilnas.ranking import among_best, correlate, intervals, kendall, top_overlap
from distilnas.ranking.correlation import default_resamples, draws, percentile_interval

PAIRS = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=3, max_size=14)


def tau_b(x, y):
    """Kendall 1945: pairs in order minus pairs out of order over the geometric mean of the untied pairs."""
    pairs = list(itertools.combinations(range(len(x)), 2))
    agree = sum(np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i, j in pairs)
    untied = math.prod(sum(v[i] != v[j] for i, j in pairs) for v in (x, y))
    return agree / math.sqrt(untied) if untied else None


@given(PAIRS)
def test_correlations_by_their_definitions(pairs):
    x, y = np.array(pairs, dtype=float).T
    found = correlate(x, y)
    expected = tau_b(x, y)
    if expected is None:
        assert (found.kendall_tau, found.spearman_rho, found.pearson_r) == (None, None, None)
        return
    assert found.n == len(pairs)
    assert found.kendall_tau == pytest.approx(expected, abs=1e-12)
    assert found.pearson_r == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
    ranks = np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1]
    assert found.spearman_rho == pytest.approx(ranks, abs=1e-12)


@given(PAIRS)
def test_signs_and_monotone_maps(pairs):
    x, y = np.array(pairs, dtype=float).T
    found, turned, bent = correlate(x, y), correlate(-x, y), correlate(np.exp(x), y)
    if found.kendall_tau is not None and turned.kendall_tau is not None:
        assert turned.kendall_tau == pytest.approx(-found.kendall_tau, abs=1e-12)
        assert bent.kendall_tau == found.kendall_tau
        assert bent.spearman_rho == pytest.approx(found.spearman_rho, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-170, 1e160, 1e307])
def test_pearson_does_not_depend_on_the_unit(scale):
    scores, truth = np.array([1.0, 3.0, 2.0, 5.0, 4.0]), np.array([2.0, 1.0, 4.0, 3.0, 5.0])
    assert correlate(scores * scale, truth).pearson_r == pytest.approx(np.corrcoef(scores, truth)[0, 1], abs=1e-12)


def test_constant_sides_up_to_rounding_have_no_correlation():
    found = correlate(np.full(7, 0.1), np.arange(7.0))
    assert (found.kendall_tau, found.spearman_rho, found.pearson_r) == (None, None, None)


def test_intervals_are_the_quantiles_of_resampled_correlations():
    """The same draws, each resample written out and given to scipy."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 12, 40).astype(float)
    y = x + rng.normal(0, 4, 40).round()
    found = intervals(x, y, seed=7, resamples=50)
    samples = [(x[i], y[i]) for i in draws(40, 50, 7)]
    for name, statistic in (
        ("kendall_tau", stats.kendalltau),
        ("spearman_rho", stats.spearmanr),
        ("pearson_r", stats.pearsonr),
    ):
        values = [statistic(*sample).statistic for sample in samples]
        assert found[name] == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=1e-10)
    assert found == intervals(x, y, seed=7, resamples=50)
    assert found != intervals(x, y, seed=8, resamples=50)


def test_intervals_cover_the_true_correlation_about_as_often_as_they_say():
    """Normal pairs of correlation rho: tau = 2 / pi * arcsin(rho) (Kendall and Gibbons)."""
    rng, rho = np.random.default_rng(4), 0.6
    tau, hits = 2 / math.pi * math.asin(rho), 0
    for n in range(40):
        x, noise = rng.standard_normal((2, 60))
        y = rho * x + math.sqrt(1 - rho**2) * noise
        interval = intervals(x, y, seed=n, resamples=100)["kendall_tau"]
        assert interval is not None
        hits += interval[0] <= tau <= interval[1]
    assert hits >= 33  # binomial(40, 0.95): less than one in a hundred thousand below


def test_undefined_resamples_are_left_out():
    found = intervals(np.array([0.0, 0, 1]), np.array([0.0, 0, 1]), seed=0, resamples=40)
    assert found["kendall_tau"] == pytest.approx((1.0, 1.0))
    assert percentile_interval(np.full(3, np.nan)) is None


def test_fewer_resamples_of_many_networks():
    assert [default_resamples(n) for n in (3, 8_000, 16_000, 400_000)] == [1000, 1000, 500, 200]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=5), st.data())
def test_top_overlap_is_the_mean_over_all_ways_to_break_ties(pairs, data):
    x, y = np.array(pairs, dtype=float).T
    k = data.draw(st.integers(1, len(pairs)))

    def tops(values):
        orders = [p for p in itertools.permutations(range(len(values))) if all(np.diff(values[list(p)]) <= 0)]
        return [set(order[:k]) for order in orders]

    expected = np.mean([len(a & b) / k for a in tops(x) for b in tops(y)])
    assert top_overlap(x, y, k) == pytest.approx(expected, abs=1e-12)


def test_among_best_takes_the_truly_best():
    truth = np.arange(20.0)
    scores = np.where(truth < 10, truth, -truth)
    half, tenth = among_best(scores, truth, 0.5), among_best(scores, truth, 0.1)
    assert (half.n, tenth.n) == (10, 2)
    assert (half.kendall_tau, tenth.spearman_rho) == pytest.approx((-1, -1))


@pytest.mark.parametrize(
    ("score", "tau", "rho", "half", "tenth"),
    [
        ("params", 0.218, 0.318, 0.123, 0.145),
        ("flops", 0.556, 0.748, 0.379, 0.341),
        ("depth", 0.693, 0.832, 0.446, 0.173),
    ],
)
def test_free_scores_of_nas_bench_macro(score, tau, rho, half, tenth):
    """All 6,561 published networks; numbers computed with scipy's definitions when the table was first studied."""
    truth = macro_table.column("mean_acc")
    if score == "depth":
        scores = np.array([len(name) - name.count("0") for name in macro_table.published()], dtype=float)
    else:
        scores = macro_table.column(score)
    found = correlate(scores, truth)
    assert (round(found.kendall_tau or 0, 3), round(found.spearman_rho or 0, 3)) == (tau, rho)
    assert round(among_best(scores, truth, 0.5).kendall_tau or 0, 3) == half
    assert round(among_best(scores, truth, 0.1).kendall_tau or 0, 3) == tenth


def test_one_training_seed_against_the_others_in_nas_bench_macro():
    accuracies = macro_table.column("test_acc")
    assert kendall(accuracies[:, 0], accuracies[:, 1:].mean(1)) == pytest.approx(0.896, abs=5e-4)
