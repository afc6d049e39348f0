"""Weighted sums of block ratings: totals, errors, combining rules."""

import numpy as np
import pytest

from distilnas.errors import UsageError
from distilnas.space import Candidate
from distilnas.tables import CellRatings, RatingTable, unrated
from distilnas.tables.combine import scaled, spread_weights

RNG = np.random.default_rng(2)


def _cell(*shape: int) -> CellRatings:
    batches = RNG.random((4, *shape))
    return CellRatings(mean=batches.mean(0), stderr=RNG.random(shape), batches=batches)


HEAD = unrated([()], 4)
TABLE = RatingTable(
    space="s", metric="relative_l1", num_images=8, cells=((_cell(3, 2), _cell(4)), (_cell(5),), HEAD), settings={"x": 1}
)


def test_a_weighted_total_is_the_weighted_sum() -> None:
    weights = [2.0, 0.5]
    found = scaled(TABLE, weights)
    choice = (Candidate(cell=1, path=(2,)), Candidate(cell=0, path=(4,)), Candidate(cell=0, path=()))
    first, second = TABLE.cells[0][1].mean[2], TABLE.cells[1][0].mean[4]
    assert found.total(choice) == pytest.approx(2 * first + 0.5 * second)
    for b, block in enumerate(found.body):
        for c, cell in enumerate(block):
            for part in ("mean", "stderr", "batches"):
                np.testing.assert_allclose(getattr(cell, part), weights[b] * getattr(TABLE.cells[b][c], part))


def test_settings_tell_the_product_of_weights() -> None:
    assert TABLE.settings == {"x": 1}
    assert scaled(scaled(TABLE, [2, 3]), [0.5, 1]).settings == {"x": 1, "block_weights": [1.0, 3.0]}


def test_spread_weights_give_each_blocks_candidates_over_all_cells_deviation_1() -> None:
    even = scaled(TABLE, spread_weights(TABLE))
    for block in even.body:
        assert np.concatenate([cell.mean.ravel() for cell in block]).std() == pytest.approx(1)


def test_a_block_of_equal_ratings_has_no_spread() -> None:
    flat = CellRatings(mean=np.ones(2), stderr=np.ones(2), batches=np.ones((4, 2)))
    table = RatingTable(space="s", metric="m", num_images=8, cells=((_cell(3),), (flat,), HEAD))
    with pytest.raises(UsageError, match="ratings of block 2 are all equal"):
        spread_weights(table)


@pytest.mark.parametrize("weights", [[1.0], [1, 2, 3], [1, -1], [0, 0], [1, np.nan], [[1, 2]]])
def test_other_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(UsageError, match="block weights must be 2 finite numbers"):
        scaled(TABLE, weights)
