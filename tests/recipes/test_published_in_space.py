"""The published DNA networks in the preset ``dna``: their table costs, and the solver finds each of them."""

from functools import cache

import numpy as np
import pytest
import torch

from distilnas.costing import cost_table, profile
from distilnas.networks.zoo import create_entry, zoo_entry
from distilnas.recipes.solving import solve_run
from distilnas.solve import Limit
from distilnas.space import Architecture, preset
from distilnas.tables import CellRatings, CostTable, RatingTable, unrated

NAMES = ["dna-a", "dna-b", "dna-c", "dna-d"]
SPACE = preset("dna")


@cache
def _costs() -> CostTable:
    return cost_table(SPACE, resolution=224, num_classes=1000)


def _published(name: str) -> Architecture:
    architecture = zoo_entry(name).architecture
    assert isinstance(architecture, Architecture)
    return architecture


def _ratings_for(architecture: Architecture) -> RatingTable:
    """Random ratings from 0.1 to 1, and 0 for the candidates of ``architecture``: it is the best where it fits."""
    rng = np.random.default_rng(0)
    cells = []
    for block, wanted in zip(SPACE.body, SPACE.choice_of(architecture), strict=False):
        tables = [rng.uniform(0.1, 1.0, cell.shape) for cell in block.cells]
        tables[wanted.cell][wanted.path] = 0.0
        cells.append(tuple(CellRatings(mean=x, stderr=np.full_like(x, 0.01), batches=x[None]) for x in tables))
    return RatingTable(space=SPACE.fingerprint, metric="relative_l1", num_images=1, cells=(*cells, unrated([()], 1)))


@pytest.mark.parametrize("name", NAMES)
def test_table_cost_is_the_built_networks(name: str) -> None:
    architecture = _published(name)
    assert SPACE.contains(architecture)
    with torch.device("meta"):
        counts = profile(create_entry(zoo_entry(name)), 224)
    total = _costs().total(SPACE, SPACE.choice_of(architecture))
    assert (total["macs"], total["params"]) == (counts.macs, counts.params)


@pytest.mark.parametrize("name", NAMES)
def test_the_solver_returns_it(name: str) -> None:
    """At a budget of exactly its own MACs and parameters."""
    architecture = _published(name)
    own = _costs().total(SPACE, SPACE.choice_of(architecture))
    limits = tuple(Limit(cost=cost, max=own[cost]) for cost in ("macs", "params"))
    record, _ = solve_run(SPACE, _ratings_for(architecture), _costs(), limits, 0)
    assert record.solution.architecture == str(architecture)
    assert record.solution.optimal
