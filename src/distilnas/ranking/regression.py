"""From block ratings to accuracy: a linear model fitted on a few trained networks.

As in DONNA (Moons et al., ICCV 2021, section 3.2) the accuracy of an architecture is regressed on the ratings of its
blocks. Ours has no terms of second order and no negative weights, so that what it predicts is a weighted sum over
blocks: ``tables.scaled(table, model.weights)`` is the table with which the solver maximises it exactly (``fitting``).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from distilnas.errors import UsageError

MIN_TRAINED = 3
_STRENGTHS = (0.0, *np.logspace(-3, 3, 13).tolist())
_FOLDS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearModel:
    """Accuracy = ``intercept`` - sum over blocks of ``weights`` x rating, in the unit of the fitted accuracies.

    ``strength``: how much the weights were drawn together; ``error``: root mean squared error on networks left out,
    a little too good because ``strength`` was chosen by it.
    """

    intercept: float
    weights: np.ndarray
    strength: float
    error: float

    def predict(self, block_ratings: np.ndarray) -> np.ndarray:
        """(n,) accuracies of architectures with block ratings (n, blocks)."""
        return self.intercept - block_ratings @ self.weights


def fit_accuracy(block_ratings: np.ndarray, accuracy: np.ndarray) -> LinearModel:
    """Fit weights from 0 to n trained networks: block ratings (n, blocks), lower is better, and accuracies (n,).

    Least squares with a penalty on the weights' squared distance from the best equal ones, so that few networks give
    nearly the plain sum of ratings (DNA, equation 8) and many the weights they show. The penalty's strength has the
    least error in cross validation (up to 10 folds). Raises ``UsageError`` for fewer than three networks, for values
    that are not finite or all equal, and where no sum of ratings from weights above 0 falls with accuracy.
    """
    ratings, accuracy = _checked(block_ratings, accuracy)
    errors = [_left_out_error(ratings, accuracy, strength) for strength in _STRENGTHS]
    best = int(np.argmin(errors))
    weights = _weights(ratings, accuracy, _STRENGTHS[best])
    if not weights.any():
        raise UsageError(
            f"accuracy must fall where the blocks' ratings rise, but on these {len(accuracy)} networks it does not: "
            "fit to more networks, or check that lower ratings are better."
        )
    intercept = float(accuracy.mean() + ratings.mean(0) @ weights)
    return LinearModel(intercept=intercept, weights=weights, strength=_STRENGTHS[best], error=errors[best])


def _weights(ratings: np.ndarray, accuracy: np.ndarray, strength: float) -> np.ndarray:
    """Argmin over w >= 0 of |accuracy + ratings w|^2 (both centred) + penalty * |w - equal|^2."""
    x, y = ratings - ratings.mean(0), accuracy.mean() - accuracy
    total = x.sum(1)
    equal = max(0.0, float(total @ y) / float(total @ total)) if total.any() else 0.0
    penalty = np.sqrt(strength * np.square(x).sum() / x.shape[1])
    rows = np.vstack([x, penalty * np.eye(x.shape[1])])
    weights, _ = nnls(rows, np.concatenate([y, np.full(x.shape[1], penalty * equal)]))
    return weights


def _left_out_error(ratings: np.ndarray, accuracy: np.ndarray, strength: float) -> float:
    folds = np.arange(len(accuracy)) % min(_FOLDS, len(accuracy))
    residuals = []
    for fold in np.unique(folds):
        kept, out = folds != fold, folds == fold
        weights = _weights(ratings[kept], accuracy[kept], strength)
        predicted = accuracy[kept].mean() - (ratings[out] - ratings[kept].mean(0)) @ weights
        residuals.append(accuracy[out] - predicted)
    return float(np.sqrt(np.square(np.concatenate(residuals)).mean()))


def _checked(block_ratings: np.ndarray, accuracy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ratings, accuracy = np.asarray(block_ratings, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    if ratings.ndim != 2 or not ratings.size or accuracy.shape != (len(ratings),):
        raise UsageError(
            "block ratings must be (networks, blocks) and accuracies (networks,), got "
            f"{ratings.shape} and {accuracy.shape}."
        )
    if not (np.isfinite(ratings).all() and np.isfinite(accuracy).all()):
        raise UsageError("ratings and accuracies must be finite numbers: leave out networks without.")
    if len(accuracy) < MIN_TRAINED or np.ptp(accuracy) == 0 or not np.ptp(ratings, axis=0).any():
        raise UsageError(
            f"a fit needs at least {MIN_TRAINED} networks, not all of one accuracy or one rating, got {len(accuracy)}."
        )
    return ratings, accuracy
