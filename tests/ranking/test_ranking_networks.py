"""Names of networks, and scores summed through a space."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilnas.costing import cost_table
from distilnas.errors import UsageError
from distilnas.ranking import Columns, NetworkNames, block_ratings, cost_scores, depth_scores, rating_sums
from distilnas.space import Candidate, SearchSpace, preset
from distilnas.space.depths import separate_depths
from distilnas.space.regroup import split_blocks
from distilnas.tables import CellRatings, RatingTable, unrated

MACRO = preset("nas-bench-macro")
NAMES = ["".join(digits) for digits in itertools.product("012", repeat=8)]
DIGITS = st.text("012", min_size=8, max_size=8)


def random_ratings(space: SearchSpace, seed: int = 0) -> RatingTable:
    rng = np.random.default_rng(seed)
    cells = tuple(
        tuple(
            CellRatings(mean=rng.random(cell.shape), stderr=np.zeros(cell.shape), batches=np.zeros((0, *cell.shape)))
            for cell in block.cells
        )
        for block in space.body
    )
    return RatingTable(space=space.fingerprint, metric="test", num_images=0, cells=(*cells, unrated([()], 0)))


def regrouped_macro() -> SearchSpace:
    """NAS-Bench-Macro as 1|1|1|2|1|2 layers, each identity pattern a cell of its own."""
    return separate_depths(split_blocks(MACRO, (1, 1, 1, 2, 1, 2)))


@given(DIGITS)
def test_digits_are_op_indices_in_layer_order(name):
    choice = NetworkNames(MACRO).choice(name)
    assert "".join(str(op) for candidate in choice for op in candidate.path) == name
    assert NetworkNames(MACRO).choice(str(MACRO.architecture(choice))) == choice
    assert NetworkNames(MACRO).choice(json.dumps(MACRO.architecture(choice).to_dict())) == choice


@given(DIGITS)
def test_digits_of_one_space_name_networks_of_another_grouping(name):
    space = regrouped_macro()
    choice = NetworkNames(space, digits=MACRO).choice(name)
    ours = [op for block in space.architecture(choice).body for op in block.ops]
    theirs = [op for block in MACRO.architecture(NetworkNames(MACRO).choice(name)).body for op in block.ops]
    assert ours == theirs
    assert NetworkNames(MACRO).choice(str(space.architecture(choice))) == NetworkNames(MACRO).choice(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("2012100", "8 digits are needed, one op index for each layer, got 7"),
        ("02012103", "op index of layer 8 must be 0 to 2, got 3"),
        ("", "not an architecture"),
        ("network-7", "not an architecture"),
        (str(preset("dna").architecture(next(preset("dna").choices()))), "add up to"),
        ("stem 32/1 relu | 64/2 id id | 128/2 id id id | 256/2 id id id | head 99 relu", "block 4 .*none of the space"),
        ("stem 32/1 relu | 64/2 id id | 99/2 id id id | 256/2 id id id | head 1280 relu", "block 2"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(UsageError, match=f"is no network of space 'nas-bench-macro': .*{message}"):
        NetworkNames(MACRO).choice(name)


def test_digits_need_one_cell_in_each_block():
    with pytest.raises(UsageError, match="one cell in every block"):
        NetworkNames(preset("dna")).choice("012")


def test_two_names_of_one_network_are_refused_and_spellings_are_brought_together():
    names = NetworkNames(MACRO)
    text = str(MACRO.architecture(names.choice("00000001")))
    with pytest.raises(UsageError, match="are the same network"):
        names.choices(["00000001", text])
    columns = Columns(source="f", rows={text: {"score": 1}, "00000002": {"score": 2}})
    known = names.choices(["00000001", "00000000"])
    assert names.spell_as(columns, known).rows == {"00000001": {"score": 1}, "00000002": {"score": 2}}


def test_all_rating_sums_of_nas_bench_macro():
    """Against sums by digits; all 6,561 networks."""
    table = random_ratings(MACRO)
    found = rating_sums(table, list(NetworkNames(MACRO).choices(NAMES).values()))
    first, second, third = (block[0].mean for block in table.body)
    expected = [
        first[int(n[0]), int(n[1])] + second[tuple(map(int, n[2:5]))] + third[tuple(map(int, n[5:]))] for n in NAMES
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_rating_sums_are_the_tables_totals_and_sums_of_blocks():
    space = regrouped_macro()
    table = random_ratings(space, seed=1)
    choices = [NetworkNames(space, digits=MACRO).choice(name) for name in NAMES[::97]]
    expected = [table.total(choice) for choice in choices]
    np.testing.assert_allclose(rating_sums(table, choices), expected, rtol=1e-12)
    parts = block_ratings(table, choices)
    assert parts.shape == (len(choices), 6)
    np.testing.assert_allclose(parts.sum(1), expected, rtol=1e-12)


def test_baselines_count_costs_and_layers():
    names = NAMES[::500]
    choices = list(NetworkNames(MACRO).choices(names).values())
    np.testing.assert_array_equal(depth_scores(MACRO, choices), [8 - name.count("0") for name in names])
    costs = cost_table(MACRO, resolution=32, num_classes=10)
    assert cost_scores(MACRO, costs, "params", choices).tolist() == [costs.total(MACRO, c)["params"] for c in choices]
    every = (Candidate(cell=0, path=(0, 0)), Candidate(cell=0, path=(0, 0, 0)), Candidate(cell=0, path=(0, 0, 0)))
    assert depth_scores(MACRO, [every]).tolist() == [0.0]
