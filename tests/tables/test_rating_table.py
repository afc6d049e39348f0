"""Rating tables: totals, counts and the file."""

import dataclasses

import numpy as np
import pytest

from distilnas.errors import UsageError
from distilnas.space import Candidate, preset
from distilnas.tables import CellRatings, CostTable, RatingTable, unrated
from distilnas.tables.files import read_arrays, write_arrays


def random_ratings() -> RatingTable:
    rng, space = np.random.default_rng(1), preset("nas-bench-macro")
    cells = tuple(
        tuple(
            CellRatings(
                mean=rng.random(cell.shape), stderr=rng.random(cell.shape), batches=rng.random((4, *cell.shape))
            )
            for cell in block.cells
        )
        for block in space.body
    )
    cells = (*cells, unrated([()], 4))
    return RatingTable(space=space.fingerprint, metric="l2", num_images=64, cells=cells, settings={"seed": 3})


def test_the_total_is_the_sum_of_block_ratings():
    table = random_ratings()
    choice = tuple(Candidate(cell=0, path=path) for path in [(0, 2), (1, 1, 0), (2, 0, 1)])
    parts = [table.cells[b][0].mean[path] for b, path in enumerate([(0, 2), (1, 1, 0), (2, 0, 1)])]
    assert table.total(choice) == pytest.approx(sum(parts), rel=1e-12)


def test_unrated_candidates_are_not_counted():
    table = random_ratings()
    assert table.num_rated == 9 + 27 + 27
    table.cells[1][0].mean[0, 0, :2] = np.nan, np.inf
    assert table.num_rated == 9 + 25 + 27


def test_file_round_trip(tmp_path):
    table = random_ratings()
    table.save(tmp_path / "a" / "ratings.npz")
    again = RatingTable.load(tmp_path / "a" / "ratings.npz")
    np.testing.assert_equal(dataclasses.asdict(again), dataclasses.asdict(table))
    again.check(preset("nas-bench-macro"))
    with pytest.raises(UsageError, match="rating table belongs to space"):
        again.check(preset("dna"))
    with pytest.raises(UsageError, match="holds ratings"):
        CostTable.load(tmp_path / "a" / "ratings.npz")


def test_a_table_without_a_spaces_candidates_is_refused():
    table = random_ratings()
    with pytest.raises(UsageError, match="does not have the candidates of space 'nas-bench-macro'"):
        dataclasses.replace(table, cells=table.cells[1:]).check(preset("nas-bench-macro"))


def test_a_file_with_parts_missing_is_refused(tmp_path):
    table, path = random_ratings(), tmp_path / "ratings.npz"
    table.save(path)
    arrays, meta = read_arrays(path, kind="ratings", schema=2)
    without = {key: value for key, value in arrays.items() if key != "1/0/stderr"}
    write_arrays(path, without, meta)
    with pytest.raises(UsageError, match=r"damaged.*1/0/stderr"):
        RatingTable.load(path)
    write_arrays(path, arrays, {key: value for key, value in meta.items() if key != "cells"})
    with pytest.raises(UsageError, match=r"damaged.*cells"):
        RatingTable.load(path)
