"""A student to forecast with while the search has not found one."""

import numpy as np

from distilnas.recipes.solving import random_choices
from distilnas.solve import Limit, search_problem, solve, to_choice
from distilnas.space import Architecture, Choice, SearchSpace
from distilnas.tables import CellRatings, CostTable, RatingTable

_DRAWS = 1000


def guess_architecture(space: SearchSpace, costs: CostTable, limits: tuple[Limit, ...], *, seed: int) -> Architecture:
    """Of 1,000 random architectures, the one with most MACs among those that keep the limits.

    Where none of them does, one that the solver finds without regard to ratings. Raises ``InfeasibleError`` when there
    is none.
    """

    kept: dict[Choice, int] = {}
    for choice in random_choices(space, _DRAWS, seed):
        total = costs.total(space, choice)
        if all(limit.allows(total[limit.cost]) for limit in limits):
            kept[choice] = total["macs"]
    if kept:
        return space.architecture(max(kept, key=lambda choice: kept[choice]))
    (found,) = solve(search_problem(space, _indifferent(space), costs), limits)
    return space.architecture(to_choice(space, found.choices))


def _indifferent(space: SearchSpace) -> RatingTable:
    """Ratings that are all 0."""
    cells = []
    for block in space.blocks:
        zeros = [np.zeros(cell.shape) for cell in block.cells]
        cells.append(tuple(CellRatings(mean=x, stderr=x, batches=x[None]) for x in zeros))
    return RatingTable(space=space.fingerprint, metric="none", num_images=0, cells=tuple(cells))
