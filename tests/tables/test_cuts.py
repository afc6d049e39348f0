"""Ratings of two cuts of one space: sums against the two tables' own sums, network by network."""

from dataclasses import replace

import numpy as np
import pytest

from distilnas.errors import UsageError
from distilnas.recipes.settings import SpaceSettings
from distilnas.recipes.spaces import named_space
from distilnas.space import SearchSpace, find_space
from distilnas.space.regroup import regroup
from distilnas.tables import CellRatings, RatingTable, unrated
from distilnas.tables.cuts import with_finer

LAYERS = (1,) * 8


def cut(*sizes: int) -> SearchSpace:
    return named_space(SpaceSettings(preset="nas-bench-macro", split=sizes, depths="separate"))


def rated(space: SearchSpace, seed: int, *, batches: int = 3, metric: str = "relative_l1") -> RatingTable:
    """A table of random ratings."""
    rng = np.random.default_rng(seed)
    cells = tuple(
        tuple(
            CellRatings(
                mean=rng.random(cell.shape), stderr=rng.random(cell.shape), batches=rng.random((batches, *cell.shape))
            )
            for cell in block.cells
        )
        for block in space.body
    )
    return RatingTable(space=space.fingerprint, metric=metric, num_images=12, cells=(*cells, unrated([()], batches)))


@pytest.mark.parametrize("sizes", [(1, 1, 1, 2, 1, 2), (2, 3, 3)])
def test_sums_are_the_sums_of_both_tables(sizes):
    coarse, fine = cut(*sizes), cut(*LAYERS)
    one, other = rated(coarse, 0), rated(fine, 1)
    both = with_finer(one, coarse, other, fine)
    both.check(coarse)
    for choice in list(coarse.choices())[::97]:
        same = fine.choice_of(regroup(coarse.architecture(choice), LAYERS))
        assert both.total(choice) == pytest.approx(one.total(choice) + other.total(same))
        parts = [(both.cells[b][c.cell].batches[:, *c.path]) for b, c in enumerate(choice)]
        theirs = [(table.cells[b][c.cell].batches[:, *c.path], table.cells[b][c.cell].stderr[c.path] ** 2)
                  for table, found in ((one, choice), (other, same)) for b, c in enumerate(found)]  # fmt: skip
        np.testing.assert_allclose(sum(parts), sum(batches for batches, _ in theirs))
        errors = sum(both.cells[b][c.cell].stderr[c.path] ** 2 for b, c in enumerate(choice))
        assert errors == pytest.approx(sum(variance for _, variance in theirs))


def test_tables_that_cannot_be_added():
    coarse, fine = cut(2, 3, 3), cut(*LAYERS)
    one, other = rated(coarse, 0), rated(fine, 1)
    with pytest.raises(UsageError, match="belongs to space"):
        with_finer(other, coarse, one, fine)
    with pytest.raises(UsageError, match="one metric"):
        with_finer(one, coarse, replace(other, metric="cosine"), fine)
    with pytest.raises(UsageError, match="3 and 2 batches"):
        with_finer(one, coarse, rated(fine, 1, batches=2), fine)
    with pytest.raises(UsageError, match="whole blocks"):
        with_finer(other, fine, one, coarse)
    several = find_space("small-images")
    with pytest.raises(UsageError, match="one depth"):
        with_finer(rated(several, 0), several, rated(several, 1), several)
