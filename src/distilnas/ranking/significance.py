"""Is one ranking better than another beyond chance? Helpers for studies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distilnas.errors import UsageError
from distilnas.ranking.correlation import default_resamples, draws, kendall, percentile_interval


@dataclass(frozen=True, kw_only=True)
class TauDifference:
    """Kendall's tau of scores a minus that of b, or its mean over sets of networks, with its 95 % bootstrap interval.

    ``p_value`` is two-sided: twice the smaller share of resamples on either side of 0, at least 1 / ``resamples``.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float
    resamples: int


def paired_bootstrap(
    scores_a: np.ndarray, scores_b: np.ndarray, truth: np.ndarray, *, seed: int, resamples: int | None = None
) -> TauDifference:
    """Compare two scores, (n,) each and higher is better, of the same networks with true accuracies ``truth`` (n,).

    Each resample draws networks with replacement and takes both taus on them: what makes a sample hard for both
    cancels. Raises ``UsageError`` when lengths differ or a tau is not defined.
    """
    return pooled_bootstrap([(scores_a, scores_b, truth)], seed=seed, resamples=resamples)


def pooled_bootstrap(
    sets: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], *, seed: int, resamples: int | None = None
) -> TauDifference:
    """The mean difference over several sets of networks, all of equal weight: scores a, scores b and truth of each.

    Every set is resampled on its own, as in ``paired_bootstrap``. Raises ``UsageError`` without a set, when the lengths
    of one differ, and when a tau is not defined.
    """
    if not sets:
        raise UsageError("a comparison needs at least one set of networks, got none.")
    differences = [_difference(*one) for one in sets]
    number = resamples or default_resamples(max(len(truth) for *_, truth in sets))
    found = np.mean([_resampled(*one, number, seed + place) for place, one in enumerate(sets)], axis=0)
    found = found[~np.isnan(found)]
    interval = percentile_interval(found)
    assert interval is not None
    share = min(np.mean(found <= 0), np.mean(found >= 0))
    p_value = min(1.0, max(2 * float(share), 1 / number))
    return TauDifference(difference=float(np.mean(differences)), interval=interval, p_value=p_value, resamples=number)


def mean_stderr(values: Sequence[float]) -> tuple[float, float]:
    """Mean over seeds and its standard error: the standard deviation (with n - 1) over the root of n, n from 2."""
    if len(values) < 2:
        raise UsageError(f"a standard error needs at least two values, got {len(values)}.")
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values)))


def _difference(scores_a: np.ndarray, scores_b: np.ndarray, truth: np.ndarray) -> float:
    if not len(scores_a) == len(scores_b) == len(truth):
        raise UsageError(
            f"both scores and the truth must be of the same networks, got {len(scores_a)}, {len(scores_b)} and "
            f"{len(truth)}."
        )
    difference = kendall(scores_a, truth) - kendall(scores_b, truth)
    if math.isnan(difference):
        raise UsageError("scores and truth must each hold at least two different numbers; else tau is not defined.")
    return difference


def _resampled(scores_a: np.ndarray, scores_b: np.ndarray, truth: np.ndarray, number: int, seed: int) -> list[float]:
    """The difference on each resample; NaN where a tau is not defined."""
    resamples = draws(len(truth), number, seed)
    return [kendall(scores_a[i], truth[i]) - kendall(scores_b[i], truth[i]) for i in resamples]
