"""From tables with integer and float costs to the solver's answer, against listing every network of a small space."""

import dataclasses
import json
import math
from fractions import Fraction

import numpy as np
import pytest

from distilnas.errors import UsageError
from distilnas.solve import Limit, search_problem, solve, to_choice
from distilnas.space import Choice, SearchSpace
from distilnas.tables import CellCosts, CellRatings, CostTable, RatingTable, indifferent

CELLS = [{"width": 8, "depth": 2}, {"width": 16, "depth": 1}]
SPACE = SearchSpace.from_dict(
    {
        "schema": 1,
        "name": "small",
        "stem": {"width": 4, "act": "relu"},
        "ops": ["id", "mb_k3_e3_relu", "mb_k5_e3_relu"],
        "blocks": [{"stride": 2, "cells": CELLS}, {"stride": 1, "cells": CELLS}],
        "head": {"width": 32, "act": "relu"},
    }
)
CHOICES = list(SPACE.choices())


def mixed_table(rng: np.random.Generator) -> CostTable:
    """Whole ``macs`` and ``latency_ms`` in tenths of milliseconds, everywhere: blocks (the stem in the first), head."""

    def numbers(*shape: int) -> np.ndarray:
        return np.stack([rng.integers(0, 40, shape).astype(np.float64), rng.integers(0, 40, shape) / 10])

    def costs(b: int, shape: tuple[int, ...]) -> CellCosts:
        first, rest = shape[:1] or (1,), shape[1:]
        return CellCosts(first=numbers(len(SPACE.in_widths(b)), *first), rest=tuple(numbers(n) for n in rest))

    return CostTable(
        space=SPACE.fingerprint,
        costs=("macs", "latency_ms"),
        floats=("latency_ms",),
        in_widths=tuple(SPACE.in_widths(b) for b in range(len(SPACE.blocks))),
        cells=tuple(tuple(costs(b, f.shape) for f in block.families) for b, block in enumerate(SPACE.blocks)),
    )


def ratings_of(rng: np.random.Generator) -> RatingTable:
    means = [[rng.integers(0, 16, family.shape) / 8 for family in block.families] for block in SPACE.body]
    cells = tuple(tuple(CellRatings(mean=x, stderr=0 * x, batches=x[None]) for x in block) for block in means)
    return RatingTable(
        space=SPACE.fingerprint, metric="none", num_images=0, cells=(*cells, indifferent(SPACE).cells[-1])
    )


def listed(table: CostTable, ratings: RatingTable, choice: Choice) -> tuple[float, int, Fraction]:
    """Rating, MACs and tenths of milliseconds, added up as the table's definition has it."""
    parts, rating, width = [], 0.0, table.in_widths[0][0]
    for b, candidate in enumerate(choice):
        costs, family = table.cells[b][candidate.cell], SPACE.blocks[b].families[candidate.cell]
        first, later = (candidate.path[0], candidate.path[1:]) if candidate.path else (0, ())
        parts.append(costs.first[:, table.in_widths[b].index(width), first])
        parts += [layer[:, op] for layer, op in zip(costs.rest, later, strict=True)]
        rating += float(ratings.cells[b][candidate.cell].mean[candidate.path])
        width = family.out
    return rating, sum(int(part[0]) for part in parts), sum(Fraction(round(10 * part[1]), 10) for part in parts)


@pytest.mark.parametrize("seed", range(8))
def test_float_costs_are_not_cut(seed):
    """Latencies of 1.2 and 0.9 ms stay so in every block; sums and the best network are those of the list."""
    rng = np.random.default_rng(seed)
    table, ratings = mixed_table(rng), ratings_of(rng)
    every = {choice: listed(table, ratings, choice) for choice in CHOICES}
    for choice, (_, macs, latency) in every.items():
        total = table.total(SPACE, choice)
        assert total == {"macs": macs, "latency_ms": pytest.approx(float(latency))}
        assert (type(total["macs"]), type(total["latency_ms"])) == (int, float)
    problem = search_problem(SPACE, ratings, table)
    assert problem.is_integer("macs")
    assert not problem.is_integer("latency_ms")
    for share in (0.2, 0.5):
        limit = sorted(latency for _, _, latency in every.values())[int(share * len(every))]
        (found,) = solve(problem, [Limit(cost="latency_ms", max=float(limit))])
        rating, macs, latency = every[to_choice(SPACE, found.positions)]
        assert rating == found.rating == min(rating for rating, _, least in every.values() if least <= limit)
        assert found.costs["macs"] == macs
        assert math.isclose(found.costs["latency_ms"], latency)


def test_a_mixed_table_is_read_back(tmp_path):
    table = mixed_table(np.random.default_rng(0))
    table.save(tmp_path / "costs.npz")
    again = CostTable.load(tmp_path / "costs.npz")
    assert again.floats == ("latency_ms",)
    assert all(again.total(SPACE, choice) == table.total(SPACE, choice) for choice in CHOICES[::7])


def test_a_file_from_before_floats_has_integers_only(tmp_path):
    """As written by versions before: no word of floats."""
    table = mixed_table(np.random.default_rng(0))
    whole = dataclasses.replace(table, costs=("macs", "params"), floats=(), **_rounded(table))
    whole.save(tmp_path / "costs.npz")
    with np.load(tmp_path / "costs.npz") as file:
        arrays = dict(file)
    meta = json.loads(arrays.pop("meta.json").tobytes())
    assert meta.pop("floats") == []
    arrays["meta.json"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    np.savez(tmp_path / "older.npz", **arrays)
    again = CostTable.load(tmp_path / "older.npz")
    assert again.total(SPACE, CHOICES[0]) == whole.total(SPACE, CHOICES[0])


def _rounded(table: CostTable) -> dict:
    def whole(array: np.ndarray) -> np.ndarray:
        return array.round().astype(np.int64)

    cells = [[CellCosts(first=whole(c.first), rest=tuple(map(whole, c.rest))) for c in block] for block in table.cells]
    return {"cells": tuple(map(tuple, cells))}


def test_fractions_of_a_cost_that_is_not_named_as_a_float_are_refused():
    table = mixed_table(np.random.default_rng(0))
    with pytest.raises(UsageError, match="'latency_ms' has values that are no integers"):
        dataclasses.replace(table, floats=())
