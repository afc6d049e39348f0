"""Rank correlation of scores with true accuracies, with bootstrap confidence intervals."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

STATISTICS = ("kendall_tau", "spearman_rho", "pearson_r")
CONFIDENCE = 0.95
_MOST_RESAMPLES, _FEWEST_RESAMPLES, _WORK = 1_000, 200, 8_000_000


@dataclass(frozen=True, kw_only=True)
class Correlations:
    """Kendall's tau-b, Spearman's rho and Pearson's r over ``n`` networks; None where one side is constant."""

    n: int
    kendall_tau: float | None
    spearman_rho: float | None
    pearson_r: float | None


def correlate(scores: np.ndarray, truth: np.ndarray) -> Correlations:
    """Correlations of two (n,) arrays; tau-b, since scores and accuracies may be tied."""
    once = np.ones(len(scores))
    return Correlations(
        n=len(scores),
        kendall_tau=_defined(kendall(scores, truth)),
        spearman_rho=_defined(_spearman(_levels(scores), _levels(truth), once)),
        pearson_r=_defined(_pearson(scores, truth, once)),
    )


def kendall(scores: np.ndarray, truth: np.ndarray) -> float:
    """Kendall's tau-b in O(n log n); NaN where one side is constant or there are fewer than two networks."""
    if len(scores) < 2:
        return float("nan")  # without scipy's warning
    tau, _ = kendalltau(scores, truth)
    return float(tau)  # type: ignore[arg-type]


def among_best(scores: np.ndarray, truth: np.ndarray, share: float) -> Correlations:
    """Correlations over the truly best ``share`` of the networks alone: truth at or above that quantile."""
    best = truth >= np.quantile(truth, 1 - share)
    return correlate(scores[best], truth[best])


def top_overlap(scores: np.ndarray, truth: np.ndarray, k: int) -> float:
    """Share of the k best by truth that are among the k best by score; where ties cross k, what chance would give."""
    return float(_top(scores, k) @ _top(truth, k)) / k


def intervals(
    scores: np.ndarray, truth: np.ndarray, *, seed: int, resamples: int | None = None
) -> dict[str, tuple[float, float] | None]:
    """95 % percentile bootstrap intervals of the correlations, networks drawn with replacement.

    They answer how far the sample of networks decides; the noise of training the networks is not in them. The default
    is 1,000 resamples, fewer (at least 200) for more than 8,000 networks. None where a resample's correlation is never
    defined.
    """
    number = resamples or default_resamples(len(scores))
    x, y = _levels(scores), _levels(truth)
    found = np.empty((number, len(STATISTICS)))
    for row, draw in zip(found, draws(len(scores), number, seed), strict=True):
        counts = np.bincount(draw, minlength=len(scores)).astype(np.float64)
        row[:] = kendall(x[draw], y[draw]), _spearman(x, y, counts), _pearson(scores, truth, counts)
    return {name: percentile_interval(found[:, i]) for i, name in enumerate(STATISTICS)}


def default_resamples(n: int) -> int:
    """1,000 where that is quick, 200 at least."""
    return min(_MOST_RESAMPLES, max(_FEWEST_RESAMPLES, _WORK // n))


def draws(n: int, number: int, seed: int) -> Iterator[np.ndarray]:
    """``number`` resamples of ``n`` networks with replacement, as indices; equal seeds give equal ones."""
    rng = np.random.default_rng(seed)
    return (rng.integers(n, size=n) for _ in range(number))


def percentile_interval(values: np.ndarray) -> tuple[float, float] | None:
    """The middle 95 % of a statistic's resampled values, undefined ones left out; None when there are none."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def _levels(values: np.ndarray) -> np.ndarray:
    """The place of each value among the distinct ones."""
    return np.unique(values, return_inverse=True)[1]


def _spearman(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> float:
    return _pearson(_midranks(x, counts), _midranks(y, counts), counts)


def _midranks(levels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties averaged, of a sample that holds network i ``counts[i]`` times; ``levels`` are its order."""
    sizes = np.bincount(levels, weights=counts)
    return (np.cumsum(sizes) - (sizes - 1) / 2)[levels]


def _pearson(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> float:
    """Pearson's r of a sample that holds network i ``counts[i]`` times; NaN where one side is constant."""
    drawn = counts > 0
    if np.ptp(x[drawn]) == 0 or np.ptp(y[drawn]) == 0:
        return float("nan")
    dx, dy = (_unit(values - np.average(values, weights=counts)) for values in map(_unit, (x, y)))
    r = counts @ (dx * dy) / np.sqrt((counts @ dx**2) * (counts @ dy**2))
    return float(np.clip(r, -1, 1))  # rounding may pass 1


def _unit(values: np.ndarray) -> np.ndarray:
    """Brought to a largest size of 1, so that squares neither vanish nor overflow."""
    return values / np.abs(values).max()


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value


def _top(values: np.ndarray, k: int) -> np.ndarray:
    """How likely each network is among the k highest when ties are broken by chance."""
    last = np.partition(values, -k)[-k]
    above, tied = values > last, values == last
    return above + tied * (k - above.sum()) / tied.sum()
