"""Rating tables as CSV: there and back, tables made elsewhere, and what is refused."""

import csv
import dataclasses
import itertools
import random

import numpy as np
import pytest

from distilnas.errors import UsageError
from distilnas.solve import Limit, search_problem, solve, to_choice
from distilnas.space import SearchSpace, preset
from distilnas.tables import CellCosts, CellRatings, CostTable, RatingTable, unrated
from distilnas.tables.csv import read_ratings, read_ratings_csv, write_ratings_csv

OPS = ["id", "mb_k3_e3_relu", "mb_k5_e3_relu"]
SPACE = SearchSpace.from_dict(
    {
        "schema": 1,
        "name": "small",
        "stem": {"width": 4, "act": "relu"},
        "ops": OPS,
        "blocks": [
            {"stride": 2, "cells": [{"width": 8, "depth": 2}, {"width": 16, "depth": 1}]},
            {"stride": 2, "cells": [{"width": 8, "depth": 1}]},
        ],
        "head": {"width": 32, "act": "relu"},
    }
)


def random_ratings(space: SearchSpace = SPACE) -> RatingTable:
    rng = np.random.default_rng(2)
    cells = tuple(
        tuple(
            CellRatings(mean=rng.normal(size=c.shape), stderr=rng.random(c.shape), batches=rng.random((3, *c.shape)))
            for c in block.cells
        )
        for block in space.body
    )
    return RatingTable(space=space.fingerprint, metric="l1", num_images=9, cells=(*cells, unrated([()], 3)))


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "ratings.csv"
    write_ratings_csv(path, random_ratings())
    return path


def change(path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def same(found: RatingTable, expected: RatingTable) -> None:
    for ours, theirs in zip(itertools.chain(*found.cells), itertools.chain(*expected.cells), strict=True):
        np.testing.assert_array_equal(ours.mean, theirs.mean)
        np.testing.assert_array_equal(ours.stderr, theirs.stderr)


def test_there_and_back_to_the_last_digit(table):
    found = read_ratings(table, SPACE)
    same(found, random_ratings())
    assert (found.space, found.num_images, found.num_rated) == (SPACE.fingerprint, 0, 15)
    assert [cell.batches.shape for cell in found.cells[0]] == [(0, 3, 3), (0, 3)]


def test_rows_are_counted_from_one_and_say_the_path(table):
    rows = list(csv.reader(table.read_text().splitlines()))
    assert rows[0] == ["block", "cell", "path", "rating", "stderr"]
    assert [row[:3] for row in rows[1:]] == [
        *(["1", "1", f"{a}-{b}"] for a in range(3) for b in range(3)),
        *(["1", "2", str(a)] for a in range(3)),
        *(["2", "1", str(a)] for a in range(3)),
    ]
    assert float(rows[6][3]) == random_ratings().cells[0][0].mean[1, 2]


def test_rows_in_any_order_counted_from_zero_without_errors(table):
    _, *rows = csv.reader(table.read_text().splitlines())
    random.Random(0).shuffle(rows)
    lines = [f"{r[3]},{int(r[0]) - 1},{int(r[1]) - 1},{r[2]}" for r in rows]
    table.write_text("\ufeff" + "\r\n".join(["rating, block,cell,path", *lines, ""]))
    found = read_ratings_csv(table, SPACE)
    np.testing.assert_array_equal(found.cells[0][0].mean, random_ratings().cells[0][0].mean)
    assert np.isnan(found.cells[0][0].stderr).all()
    write_ratings_csv(table, found)
    same(read_ratings_csv(table, SPACE), found)


def test_the_npz_form(tmp_path):
    random_ratings().save(tmp_path / "ratings.npz")
    found = read_ratings(tmp_path / "ratings.npz", SPACE)
    np.testing.assert_equal(dataclasses.asdict(found), dataclasses.asdict(random_ratings()))
    with pytest.raises(UsageError, match="rating table belongs to space"):
        read_ratings(tmp_path / "ratings.npz", preset("dna"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("block,cell", "blok,cell", "the first line must be block,cell,path,rating,stderr .*block missing"),
        ("rating,stderr", "rating,rating", "must name each column once, got 'block,cell,path,rating,rating'"),
        ("1,1,0-0,", "1,1,0-0,7,", "line 2 must have 5 fields, got 6"),
        ("1,1,0-1,", "1,1,0-0,", "line 3 repeats path 0-0 of block 1, cell 1"),
        ("1,1,0-1,", "1,1,0-3,", "line 3: op indices go from 0 to at most 2-2, got '0-3'"),
        ("1,1,0-1,", "1,1,0-1-0,", "line 3: path must be 2 op indices such as 2-2"),
        ("1,1,0-1,", "1,1,,", "line 3: path must be 2 op indices"),
        ("1,1,0-1,", "3,1,0-1,", "line 3: space 'small' has no block 3"),
        ("1,1,0-1,", "2,2,0-1,", "no block 2 with a cell 2"),
        ("1,1,0-1,", "one,1,0-1,", "line 3: block must be a whole number from 1, got 'one'"),
        ("1,1,0-1,", "1,-1,0-1,", "line 3: cell must be a whole number from 1, got '-1'"),
        ("1,1,0-1,", "1,1,0-1,nan,1\n1,1,0-1,", "line 3: rating must be a finite number, got 'nan'"),
        ("1,1,0-1,", "1,1,0-1,1,inf\n1,1,0-1,", "line 3: stderr must be a finite number, got 'inf'"),
        ("1,1,0-1,", "1,1,0-1,1,-1\n1,1,0-1,", "line 3: stderr must be at least 0, got '-1'"),
        ("1,1,0-1,", "9" * 5000 + ",1,0-1,", "cannot read"),
        ("1,1,0-1,", "1,1,0-" + "9" * 5000 + ",", "cannot read"),
        ("1,1,0-1,", "1,1,0-1,1_0,1\n1,1,0-1,", "rating must be a finite number, got '1_0'"),
        ("1,1,0-1,", "1,1,0-1,good,1\n1,1,0-1,", "rating must be a finite number, got 'good'"),
        ("\n1,2,0,", '\n"1,2,0,', "cannot read"),
    ],
)
def test_wrong_rows_are_refused(table, old, new, message):
    change(table, old, new)
    with pytest.raises(UsageError, match=message) as caught:
        read_ratings(table, SPACE)
    assert str(table) in str(caught.value)


def test_missing_candidates_are_named(table):
    lines = table.read_text().splitlines()
    table.write_text("\n".join(line for line in lines if not line.startswith("1,1,1-")))
    with pytest.raises(UsageError, match="3 of 9 paths of block 1, cell 1 are missing: 1-0, 1-1, 1-2"):
        read_ratings(table, SPACE)
    table.write_text(lines[0])
    with pytest.raises(UsageError, match=r"9 of 9 paths.*0-0, 0-1, 0-2, \.\.\."):
        read_ratings(table, SPACE)


def test_another_spaces_table_and_no_table(table, tmp_path):
    with pytest.raises(UsageError, match="no block 1 with a cell 2"):
        read_ratings(table, preset("nas-bench-macro"))
    with pytest.raises(UsageError, match="cannot read"):
        read_ratings(tmp_path / "none.csv", SPACE)
    table.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot read"):
        read_ratings(table, SPACE)


def test_an_imported_table_is_solved_like_any_other(table):
    """Against all 36 architectures."""
    rng = np.random.default_rng(5)
    costs = CostTable(
        space=SPACE.fingerprint,
        costs=("macs",),
        in_widths=tuple(SPACE.in_widths(b) for b in range(3)),
        cells=(
            (
                CellCosts(first=rng.integers(1, 9, (1, 1, 3)), rest=(rng.integers(1, 9, (1, 3)),)),
                CellCosts(first=rng.integers(1, 9, (1, 1, 3)), rest=()),
            ),
            (CellCosts(first=rng.integers(1, 9, (1, 2, 3)), rest=()),),
            (CellCosts(first=np.array([[[4]]]), rest=()),),
        ),
    )
    ratings = read_ratings(table, SPACE)
    limit = int(np.median([costs.total(SPACE, choice)["macs"] for choice in SPACE.choices()]))
    allowed = [choice for choice in SPACE.choices() if costs.total(SPACE, choice)["macs"] <= limit]
    best = min(allowed, key=ratings.total)
    found = solve(search_problem(SPACE, ratings, costs), (Limit(cost="macs", max=limit),))[0]
    assert to_choice(SPACE, found.positions) == best
    assert found.rating == pytest.approx(ratings.total(best))
    assert found.optimal
