"""The exact answer under every combination of limits from a grid, in as few searches as that takes."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from distilnas.errors import InfeasibleError
from distilnas.solve import Limit
from distilnas.surgery.choose import Chosen, best_choices
from distilnas.surgery.library import Trunk
from distilnas.tables.measures import Number

Limits = Mapping[str, Number]


def explore(search: Callable[[Limits], Chosen], grid: Mapping[str, Sequence[Number]]) -> list[Chosen]:
    """What ``search`` finds under the limits of ``grid`` (values by measure, any order), every answer once.

    ``search`` gives the best within upper limits, or raises ``InfeasibleError``. An answer is also the best within any
    tighter limits that it keeps, and where nothing keeps limits nothing keeps tighter ones: such combinations are not
    searched. So for every combination the best of the list that keeps it is the best of all.
    """
    names = list(grid)
    combinations = itertools.product(*(sorted(grid[name], reverse=True) for name in names))
    limits = np.array(list(combinations))
    left, found = np.ones(len(limits), dtype=bool), []
    for row, values in enumerate(limits):
        if not left[row]:
            continue
        tighter = (limits <= values).all(1)
        try:
            answer = search(dict(zip(names, values.tolist(), strict=True)))
        except InfeasibleError:
            left &= ~tighter
            continue
        costs = [answer.solution.costs[name] for name in names]
        left &= ~(tighter & (limits >= costs).all(1))
        found.append(answer)
    return list({one.choice: one for one in found}.values())


class TrunkSearch:
    """The best student of all ``trunks`` within limits, from trunk to trunk, remembering what each came to.

    What a trunk reached within looser limits bounds what it can reach within tighter ones, so that most need not be
    searched again.
    """

    def __init__(self, trunks: Sequence[Trunk]) -> None:
        self._trunks = trunks
        self._known: list[list[tuple[Limits, float]]] = [[({}, least_rating(trunk))] for trunk in trunks]

    def __call__(self, limits: Limits) -> Chosen:
        """Raises ``InfeasibleError`` where no student keeps ``limits``."""
        best: Chosen | None = None
        bounds = [self._bound(number, limits) for number in range(len(self._trunks))]
        for number in np.argsort(bounds, kind="stable").tolist():
            if bounds[number] >= (np.inf if best is None else best.solution.rating):
                break
            found = self._search(number, limits)
            if found and (best is None or found.solution.rating < best.solution.rating):
                best = found
        if best is None:
            raise InfeasibleError(f"no student keeps {dict(limits)}.")
        return best

    def _bound(self, number: int, limits: Limits) -> float:
        if any(least > limits[name] for name, least in least_costs(self._trunks[number]).items() if name in limits):
            return np.inf
        known = self._known[number]
        return max(rating for at, rating in known if all(limits[name] <= value for name, value in at.items()))

    def _search(self, number: int, limits: Limits) -> Chosen | None:
        asked = [Limit(cost=name, max=value) for name, value in limits.items()]
        try:
            (found,) = best_choices([self._trunks[number]], asked)
        except InfeasibleError:
            found = None
        self._known[number].append((limits, np.inf if found is None else found.solution.rating))
        return found


def least_costs(trunk: Trunk) -> dict[str, Number]:
    """Of each measure what no student of the trunk falls below: the sum of the blocks' least."""
    blocks, names = trunk.problem.blocks, trunk.problem.cost_names
    return {name: sum(min(cell.costs[name].min() for cell in block.cells) for block in blocks) for name in names}


def least_rating(trunk: Trunk) -> float:
    """What no student's rating falls below."""
    return float(sum(min(cell.ratings.min() for cell in block.cells) for block in trunk.problem.blocks))
