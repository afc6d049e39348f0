"""The fitted sum: exact where the truth is a weighted sum, and never judged on the networks it was fitted to."""

from itertools import product

import numpy as np
import pytest

from distilnas.errors import UsageError
from distilnas.ranking import Columns, NetworkNames, draw_trained, fit_sum, left_out, rating_sums
from distilnas.space import preset
from distilnas.tables import CellRatings, RatingTable, unrated

SPACE = preset("nas-bench-macro")
NAMES = ["".join(map(str, digits)) for digits in product(range(3), (0, 2), range(3), (0, 1), "1", "02", "01", "2")]
CHOICES = NetworkNames(SPACE).choices(NAMES)
WEIGHTS = (4.0, 0.0, 1.5)
TRUTH = Columns(source="truth.csv", rows={name: {"accuracy": i} for i, name in enumerate(NAMES)})


def _cell(shape: tuple[int, ...], seed: int) -> CellRatings:
    mean = np.random.default_rng(seed).random(shape)
    return CellRatings(mean=mean, stderr=0.1 * mean, batches=np.stack([mean, mean]))


RATINGS = RatingTable(
    space=SPACE.fingerprint,
    metric="relative_l1",
    num_images=8,
    cells=(*(tuple(_cell(c.shape, b) for c in block.cells) for b, block in enumerate(SPACE.body)), unrated([()], 2)),
)


def _accuracy(name: str) -> float:
    """93 minus the weighted sum of the ratings, block by block."""
    parts = zip(WEIGHTS, RATINGS.body, CHOICES[name], strict=False)
    return 93 - sum(w * float(block[c.cell].mean[c.path]) for w, block, c in parts)


def test_a_weighted_truth_is_ranked_without_error_on_networks_left_out() -> None:
    trained = draw_trained(TRUTH, 30, seed=1)
    fitted = fit_sum(RATINGS, CHOICES, {name: _accuracy(name) for name in trained.rows})
    others = left_out(TRUTH, trained).rows
    lost = rating_sums(fitted.table, [CHOICES[name] for name in others])
    np.testing.assert_allclose(fitted.model.intercept - lost, [_accuracy(name) for name in others])
    np.testing.assert_allclose(fitted.table.settings["block_weights"], WEIGHTS, atol=1e-9)
    assert fitted.trained == tuple(trained.rows)


def test_the_record_compares_with_the_plain_sum_of_the_same_networks() -> None:
    fitted = fit_sum(RATINGS, CHOICES, {name: _accuracy(name) for name in NAMES[:20]})
    others = NAMES[20:]
    found = fitted.record([CHOICES[name] for name in others], np.array([_accuracy(name) for name in others]))
    plain = [sum(float(RATINGS.cells[b][0].mean[c.path]) for b, c in enumerate(CHOICES[name][:-1])) for name in others]
    assert found["sum"]["n"] == len(others)
    assert found["sum"]["pearson_r"] == pytest.approx(
        -np.corrcoef(plain, [_accuracy(name) for name in others])[0, 1], rel=1e-9
    )
    assert found["trained"] == NAMES[:20]


@pytest.mark.parametrize("number", [3, 50, len(NAMES) - 3])
def test_draws_and_what_they_leave_share_the_truth(number: int) -> None:
    trained = draw_trained(TRUTH, number, seed=0)
    others = left_out(TRUTH, trained)
    assert len(trained.rows) == number
    assert not set(trained.rows) & set(others.rows)
    assert trained.rows | others.rows == TRUTH.rows
    assert list(others.rows) == [name for name in NAMES if name in others.rows], "the truth's order"


def test_draws_depend_on_the_seed_and_grow() -> None:
    ten = list(draw_trained(TRUTH, 10, seed=4).rows)
    assert list(draw_trained(TRUTH, 30, seed=4).rows)[:10] == ten
    assert list(draw_trained(TRUTH, 10, seed=5).rows) != ten


@pytest.mark.parametrize("number", [-1, 0, 2])
def test_too_few_networks_are_refused(number: int) -> None:
    with pytest.raises(UsageError, match=f"at least 3 trained networks, got {number}"):
        draw_trained(TRUTH, number, seed=0)


@pytest.mark.parametrize(("number", "left"), [(len(NAMES) - 2, 2), (len(NAMES), 0), (10_000, 0)])
def test_some_networks_must_be_left_to_judge_by(number: int, left: int) -> None:
    with pytest.raises(UsageError, match=f"of the {len(NAMES)} in truth.csv only {left} would be left; fit to fewer"):
        left_out(TRUTH, draw_trained(TRUTH, number, seed=0))
