"""From a space and its tables to a search problem, and back from what was found to the space's choices."""

from collections.abc import Sequence

import numpy as np

from distilnas.solve.problem import BlockCandidates, CellCandidates, Position, SearchProblem
from distilnas.space import Candidate, Choice, SearchSpace
from distilnas.tables import CostTable, RatingTable


def search_problem(space: SearchSpace, ratings: RatingTable, costs: CostTable) -> SearchProblem:
    """The exact search over all architectures of ``space``; the stem's cost is counted with the head's.

    Raises ``UsageError`` when a table belongs to another space.
    """
    ratings.check(space)
    costs.check(space)
    blocks = []
    for b, block in enumerate(space.blocks):
        cells = []
        for cell, cell_ratings, cell_costs in zip(block.cells, ratings.cells[b], costs.cells[b], strict=True):
            dense = cell_costs.dense()
            named = {name: dense[i] for i, name in enumerate(costs.costs)}
            cells.append(
                CellCandidates(name=cell.name, width=cell.width, ratings=cell_ratings.mean.ravel(), costs=named)
            )
        blocks.append(BlockCandidates(name=f"block {b + 1}", in_widths=costs.in_widths[b], cells=tuple(cells)))
    tail = {
        name: {width: int(head[i] + costs.stem[i]) for width, head in costs.head.items()}
        for i, name in enumerate(costs.costs)
    }
    return SearchProblem(blocks=tuple(blocks), tail_costs=tail)


def to_choice(space: SearchSpace, positions: Sequence[Position]) -> Choice:
    """The space's choice at the solver's positions (candidates are paths in C order)."""
    choice = []
    for block, (cell, candidate) in zip(space.blocks, positions, strict=True):
        path = tuple(int(i) for i in np.unravel_index(candidate, block.cells[cell].shape))
        choice.append(Candidate(cell=cell, path=path))
    return tuple(choice)


def batch_ratings(ratings: RatingTable) -> list[list[np.ndarray]]:
    """Per block and cell the ratings on each batch of rating images, (candidates, K), as ``tie_test`` takes them."""
    return [[cell.batches.reshape(len(cell.batches), -1).T for cell in block] for block in ratings.cells]
