"""Accuracy from block ratings: against known weights, a general-purpose optimiser, and the plain sum."""

import numpy as np
import pytest
from scipy.optimize import minimize

from distilnas.errors import UsageError
from distilnas.ranking.regression import _weights, fit_accuracy

WEIGHTS = np.array([3.0, 0.0, 12.0, 1.0])


def _networks(number: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ratings = rng.random((number, 4)) * [1, 2, 0.5, 1]
    return ratings, 93 - ratings @ WEIGHTS + noise * rng.normal(size=number)


def test_exact_weights_are_found() -> None:
    ratings, accuracy = _networks(30, 0)
    model = fit_accuracy(ratings, accuracy)
    np.testing.assert_allclose(model.weights, WEIGHTS, atol=1e-9)
    assert model.intercept == pytest.approx(93)
    assert model.strength == 0
    assert model.error == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(model.predict(ratings), accuracy)


@pytest.mark.parametrize("strength", [0.0, 0.1, 10.0])
def test_weights_minimise_what_the_docstring_says(strength: float) -> None:
    """A bounded quasi-Newton search over the penalised squares finds nothing lower."""
    ratings, accuracy = _networks(12, 2.0, seed=3)
    x, y = ratings - ratings.mean(0), accuracy - accuracy.mean()
    equal = max(0.0, minimize(lambda w: np.square(y + x.sum(1) * w[0]).sum(), [1.0]).x[0])
    penalty = strength * np.square(x).sum() / 4

    def loss(w: np.ndarray) -> float:
        return float(np.square(y + x @ w).sum() + penalty * np.square(w - equal).sum())

    best = minimize(loss, np.ones(4), bounds=[(0, None)] * 4, options={"ftol": 1e-14, "gtol": 1e-10})
    found = _weights(ratings, accuracy, strength)
    assert (found >= 0).all()
    assert loss(found) == pytest.approx(best.fun, rel=1e-6)
    np.testing.assert_allclose(found, best.x, atol=1e-3)


def test_few_noisy_networks_give_nearly_the_plain_sum() -> None:
    """With equal true weights and six networks, what is left to free weights is noise: they are drawn together."""
    rng = np.random.default_rng(5)
    ratings = rng.random((6, 4))
    model = fit_accuracy(ratings, 90 - 5 * ratings.sum(1) + rng.normal(size=6))
    assert model.strength >= 1
    assert np.ptp(model.weights) < 0.5 * model.weights.mean()


def test_free_weights_predict_new_networks_better_than_the_sum() -> None:
    model = fit_accuracy(*_networks(40, 0.3, seed=1))
    ratings, accuracy = _networks(500, 0.3, seed=2)
    slope, level = np.polyfit(ratings.sum(1), accuracy, 1)
    error = float(np.sqrt(np.square(model.predict(ratings) - accuracy).mean()))
    assert error < 0.5 * np.sqrt(np.square(slope * ratings.sum(1) + level - accuracy).mean())
    assert error == pytest.approx(model.error, rel=0.3)


def test_units_of_accuracy_do_not_matter() -> None:
    ratings, accuracy = _networks(15, 1.0)
    percent, share = fit_accuracy(ratings, accuracy), fit_accuracy(ratings, accuracy / 100)
    np.testing.assert_allclose(percent.weights, 100 * share.weights, rtol=1e-6, atol=1e-9)
    assert percent.strength == share.strength


def test_accuracy_that_rises_with_ratings_is_refused() -> None:
    ratings, accuracy = _networks(20, 0.0)
    with pytest.raises(UsageError, match="accuracy must fall"):
        fit_accuracy(ratings, -accuracy)


@pytest.mark.parametrize(
    ("ratings", "accuracy", "words"),
    [
        (np.ones((4, 2)), np.ones(3), "must be"),
        (np.ones(4), np.ones(4), "must be"),
        (np.ones((0, 2)), np.ones(0), "must be"),
        (np.array([[1.0], [2.0], [np.nan]]), np.arange(3.0), "finite"),
        (np.array([[1.0], [2.0]]), np.arange(2.0), "at least 3 networks"),
        (np.array([[1.0], [2.0], [3.0]]), np.ones(3), "at least 3 networks"),
        (np.ones((3, 2)), np.arange(3.0), "at least 3 networks"),
    ],
)
def test_bad_input_is_refused(ratings: np.ndarray, accuracy: np.ndarray, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        fit_accuracy(ratings, accuracy)
