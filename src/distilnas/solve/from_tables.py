"""From a space and its tables to a search problem, and back from what was found to the space's choices."""

from collections.abc import Sequence

import numpy as np

from distilnas.solve.problem import BlockCandidates, CellCandidates, Position, SearchProblem
from distilnas.space import Candidate, Choice, SearchSpace
from distilnas.tables import CostTable, RatingTable


def search_problem(space: SearchSpace, ratings: RatingTable, costs: CostTable) -> SearchProblem:
    """The exact search over all architectures of ``space``.

    Raises ``UsageError`` when a table belongs to another space.
    """
    ratings.check(space)
    costs.check(space)
    blocks = []
    for b, block in enumerate(space.blocks):
        cells = []
        for family, rated, counted in zip(block.families, ratings.cells[b], costs.cells[b], strict=True):
            dense = counted.dense()
            named = {name: costs.column(name, dense) for name in costs.costs}
            cells.append(CellCandidates(name=family.name, width=family.out, ratings=rated.mean.ravel(), costs=named))
        blocks.append(BlockCandidates(name=f"block {b + 1}", in_widths=costs.in_widths[b], cells=tuple(cells)))
    return SearchProblem(blocks=tuple(blocks))


def to_choice(space: SearchSpace, positions: Sequence[Position]) -> Choice:
    """The space's choice at the solver's positions (candidates are paths in C order)."""
    choice = []
    for block, (cell, candidate) in zip(space.blocks, positions, strict=True):
        path = tuple(int(i) for i in np.unravel_index(candidate, block.families[cell].shape))
        choice.append(Candidate(cell=cell, path=path))
    return tuple(choice)


def batch_ratings(ratings: RatingTable) -> list[list[np.ndarray]]:
    """Per block and cell the ratings on each batch of rating images, (candidates, K), as ``tie_test`` takes them."""
    return [[cell.batches.reshape(len(cell.batches), -1).T for cell in block] for block in ratings.cells]
