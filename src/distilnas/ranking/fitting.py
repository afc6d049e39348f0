"""The fitted sum: weights of blocks from a few trained networks (``regression``), judged on the networks left out."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from distilnas.errors import UsageError
from distilnas.ranking.columns import Columns
from distilnas.ranking.comparison import MIN_NETWORKS
from distilnas.ranking.correlation import correlate
from distilnas.ranking.networks import block_ratings, rating_sums
from distilnas.ranking.regression import MIN_TRAINED, LinearModel, fit_accuracy
from distilnas.space import Choice
from distilnas.tables import RatingTable
from distilnas.tables.combine import scaled


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedSum:
    """Block ratings and the ``model`` of accuracy that was fitted to them on the ``trained`` networks."""

    ratings: RatingTable
    trained: tuple[str, ...]
    model: LinearModel

    @property
    def table(self) -> RatingTable:
        """The ratings times the weights of their blocks: sums are points of accuracy lost, lower is better."""
        return scaled(self.ratings, self.model.weights)

    def record(self, left_out: Sequence[Choice], truth: np.ndarray) -> dict[str, Any]:
        """JSON values: the fit, and as ``sum`` how the plain sum ranks the same ``left_out`` networks, truth (n,)."""
        return {
            "trained": list(self.trained),
            "weights": self.model.weights.tolist(),
            "intercept": self.model.intercept,
            "strength": self.model.strength,
            "error": self.model.error,
            "sum": asdict(correlate(-rating_sums(self.ratings, left_out), truth)),
        }


def draw_trained(truth: Columns, number: int, *, seed: int) -> Columns:
    """``number`` networks of the truth, all equally likely; with one seed, fewer are the first of more.

    Raises ``UsageError`` for less than three.
    """
    if number < MIN_TRAINED:
        raise UsageError(f"a fit needs at least {MIN_TRAINED} trained networks, got {number}.")
    names = list(truth.rows)
    drawn = np.random.default_rng(seed).permutation(len(names))[:number]
    return Columns(source=truth.source, rows={names[i]: truth.rows[names[i]] for i in drawn})


def left_out(truth: Columns, trained: Columns) -> Columns:
    """The truth without the ``trained`` networks; raises ``UsageError`` when fewer than three are left."""
    rows = {name: row for name, row in truth.rows.items() if name not in trained.rows}
    if len(rows) < MIN_NETWORKS:
        raise UsageError(
            f"a fitted sum is judged on at least {MIN_NETWORKS} networks that it was not fitted to, but of the "
            f"{len(truth.rows)} in {truth.source} only {len(rows)} would be left; fit to fewer networks."
        )
    return Columns(source=truth.source, rows=rows)


def fit_sum(ratings: RatingTable, choices: Mapping[str, Choice], accuracy: Mapping[str, float]) -> FittedSum:
    """Fit to the networks of ``accuracy``, whose ``choices`` must be known; raises what ``fit_accuracy`` raises."""
    rated = block_ratings(ratings, [choices[name] for name in accuracy])
    model = fit_accuracy(rated, np.array(list(accuracy.values())))
    return FittedSum(ratings=ratings, trained=tuple(accuracy), model=model)
