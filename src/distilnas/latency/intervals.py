"""Medians and how sure they are, without assumptions on how times are distributed."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binom


@dataclass(frozen=True, kw_only=True)
class Timing:
    """A median (of milliseconds, or of ratios) and an interval that holds the true one with 95 %."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g})"


def timing(values: Sequence[float]) -> Timing:
    """The median of independent ``values`` and its interval between two of them in order.

    The number of values below the true median is binomial, so that the k-th smallest and the k-th largest have it
    between them with 95 % or more where P(fewer than k are below) <= 2.5 % (Conover, Practical Nonparametric
    Statistics, section 3.2). Fewer than six values are all between the least and the most of them.
    """
    ordered = sorted(values)
    cut = max(0, int(binom.ppf(0.025, len(ordered), 0.5)) - 1)
    return Timing(median=statistics.median(ordered), low=ordered[cut], high=ordered[-1 - cut])
