"""Cost tables: the chain of blocks by hand and by dense arrays, and the file."""

import dataclasses
import itertools

import numpy as np
import pytest

from distilnas.errors import UsageError
from distilnas.space import Candidate, SearchSpace
from distilnas.tables import CellCosts, CostTable, RatingTable

OPS = ["id", "mb_k3_e3_relu", "mb_k5_e3_relu"]


def small_space(name: str = "small", head: int = 32) -> SearchSpace:
    cells = [{"width": 8, "depth": 2}, {"width": 16, "depth": 1}]
    blocks = [{"stride": 2, "cells": cells}, {"stride": 1, "cells": cells[:1]}, {"stride": 2, "cells": cells}]
    stem, end = {"width": 4, "act": "relu"}, {"width": head, "act": "relu"}
    return SearchSpace.from_dict({"schema": 1, "name": name, "stem": stem, "ops": OPS, "blocks": blocks, "head": end})


def random_table(space: SearchSpace, seed: int = 0) -> CostTable:
    rng = np.random.default_rng(seed)

    def numbers(*shape: int) -> np.ndarray:
        return rng.integers(0, 10**12, (2, *shape))

    return CostTable(
        space=space.fingerprint,
        costs=("macs", "params"),
        in_widths=tuple(space.in_widths(b) for b in range(len(space.blocks))),
        cells=tuple(
            tuple(
                CellCosts(
                    first=numbers(len(space.in_widths(b)), family.shape[0] if family.shape else 1),
                    rest=tuple(numbers(n) for n in family.shape[1:]),
                )
                for family in block.families
            )
            for b, block in enumerate(space.blocks)
        ),
        settings={"resolution": 32},
    )


def test_the_total_is_the_sum_along_the_chain_of_dense_costs():
    space = small_space()
    table = random_table(space)
    dense = [[cell.dense() for cell in block] for block in table.cells]
    for choice in itertools.islice(space.choices(), 0, None, 37):
        width, expected = 3, np.zeros(2, dtype=np.int64)
        for b, (block, candidate) in enumerate(zip(space.blocks, choice, strict=True)):
            family = block.families[candidate.cell]
            path = np.ravel_multi_index(candidate.path, family.shape) if family.shape else 0
            expected = expected + dense[b][candidate.cell][:, space.in_widths(b).index(width), path]
            width = family.out
        assert table.total(space, choice) == {"macs": expected[0], "params": expected[1]}


def test_a_chain_by_hand():
    """Two blocks; the second block's first layer costs 100 after width 8 and 200 after width 16."""
    cells = [{"width": 8, "depth": 1}, {"width": 16, "depth": 1}]
    data = small_space().to_dict() | {
        "ops": ["id"],
        "blocks": [{"stride": 1, "cells": cells}, {"stride": 1, "cells": cells[:1]}],
    }
    space = SearchSpace.from_dict(data)
    one = tuple(CellCosts(first=np.array([[[cost]]]), rest=()) for cost in (10, 20))
    two = (CellCosts(first=np.array([[[100], [200]]]), rest=()),)
    table = CostTable(
        space=space.fingerprint,
        costs=("macs",),
        in_widths=((3,), (8, 16), (8,)),
        cells=(one, two, (CellCosts(first=np.array([[[1000]]]), rest=()),)),
    )
    rest = (Candidate(cell=0, path=(0,)), Candidate(cell=0, path=()))
    for _ in range(2):  # totals must not add up in the table itself
        assert table.total(space, (Candidate(cell=0, path=(0,)), *rest)) == {"macs": 10 + 100 + 1000}
        assert table.total(space, (Candidate(cell=1, path=(0,)), *rest)) == {"macs": 20 + 200 + 1000}


def test_file_round_trip(tmp_path):
    space = small_space()
    table = random_table(space)
    table.save(tmp_path / "costs.npz")
    again = CostTable.load(tmp_path / "costs.npz")
    for name in ("space", "costs", "in_widths", "settings"):
        assert getattr(again, name) == getattr(table, name)
    for old, new in zip(itertools.chain(*table.cells), itertools.chain(*again.cells), strict=True):
        np.testing.assert_equal(dataclasses.asdict(new), dataclasses.asdict(old))
    choice = next(space.choices())
    assert again.total(space, choice) == table.total(space, choice)


def test_another_space_or_kind_is_refused(tmp_path):
    space = small_space()
    table = random_table(space)
    with pytest.raises(UsageError, match="belongs to space"):
        table.total(small_space(head=33), next(space.choices()))
    table.check(small_space(name="renamed"))
    table.save(tmp_path / "costs.npz")
    with pytest.raises(UsageError, match="holds costs of schema 2; ratings of schema 1 or 2"):
        RatingTable.load(tmp_path / "costs.npz")
