"""What following the scores costs: the best-scored network that fits a budget against the best true one that fits."""

from dataclasses import dataclass

import numpy as np

from distilnas.config import parse_amount
from distilnas.errors import InfeasibleError, UsageError, nearest
from distilnas.ranking.comparison import Comparison


@dataclass(frozen=True, kw_only=True)
class CostBudget:
    """At most ``limit`` of ``cost``."""

    cost: str
    limit: float


@dataclass(frozen=True, kw_only=True)
class Pick:
    """The outcome of choosing by score among the ``num_fitting`` networks within ``budget`` (None: all networks).

    ``picked`` are the best-scored networks, several when tied; ``accuracy``, ``percentile`` (share of the fitting
    networks, in percent, that are no better) and ``regret`` (best true accuracy minus picked) are then their means.
    ``best`` is the truly best fitting network, the first of those tied.
    """

    budget: CostBudget | None
    num_fitting: int
    picked: tuple[str, ...]
    accuracy: float
    best: str
    best_accuracy: float
    percentile: float
    median: float

    @property
    def regret(self) -> float:
        """What is lost against knowing the truth."""
        return self.best_accuracy - self.accuracy


def parse_budget(text: str) -> CostBudget:
    """``40M`` (MACs) or ``COST=AMOUNT``, such as ``params=1.2M`` or ``latency_ms=3.5``."""
    cost, _, amount = text.rpartition("=")
    plain = amount.replace(".", "", 1).isdecimal()
    return CostBudget(cost=cost.strip() or "macs", limit=float(amount) if plain else parse_amount(amount))


def pick(comparison: Comparison, budget: CostBudget | None = None) -> Pick:
    """Choose by score within ``budget``.

    Raises ``UsageError`` when the networks' cost is not known, ``InfeasibleError`` when none fits.
    """
    fitting = np.arange(len(comparison.names)) if budget is None else _fitting(comparison, budget)
    scores, truth = comparison.scores[fitting], comparison.truth[fitting]
    chosen = np.flatnonzero(scores == scores.max())
    best = int(np.argmax(truth))
    return Pick(
        budget=budget,
        num_fitting=len(fitting),
        picked=tuple(comparison.names[fitting[i]] for i in chosen),
        accuracy=float(truth[chosen].mean()),
        best=comparison.names[fitting[best]],
        best_accuracy=float(truth[best]),
        percentile=100 * float(np.mean([np.mean(truth <= truth[i]) for i in chosen])),
        median=float(np.median(truth)),
    )


def _fitting(comparison: Comparison, budget: CostBudget) -> np.ndarray:
    if budget.cost not in comparison.costs:
        raise UsageError(f"the {budget.cost} of the networks are not known; {nearest(budget.cost, comparison.costs)}")
    costs = comparison.costs[budget.cost]
    fitting = np.flatnonzero(costs <= budget.limit)
    if not len(fitting):
        raise InfeasibleError(
            f"no network has at most {budget.limit:,.10g} {budget.cost}; the smallest of the {len(costs)} has "
            f"{costs.min():,.10g}."
        )
    return fitting
