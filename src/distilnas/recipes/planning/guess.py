"""A student to forecast with while the search has not found one."""

from collections.abc import Iterator

from distilnas.methods.dnad.costs import candidate_macs, derived_counts
from distilnas.recipes.solving import random_choices
from distilnas.solve import Limit, search_problem, solve, to_choice
from distilnas.space import Architecture, Choice, SearchSpace
from distilnas.space.darts import CellwiseGenotype, DartsArchitecture
from distilnas.space.darts.space import DartsSpace
from distilnas.tables import CostTable, indifferent

_DRAWS = 1000
_MOST_AT_NODE = 2  # as many as DARTS keeps


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
    (found,) = solve(search_problem(space, indifferent(space), costs), limits)
    return space.architecture(to_choice(space, found.positions))


def guess_darts(
    space: DartsSpace, limits: tuple[Limit, ...], *, width: int, resolution: int, classes: int
) -> DartsArchitecture:
    """Of some networks with two candidates at every node, as DARTS keeps, or one: that with most MACs within the
    limits, or where none keeps them, with fewest."""
    found, kept = {}, {}
    for genotype in _genotypes(space, resolution):
        architecture = space.architecture(genotype, width=width)
        params, macs = derived_counts(architecture, resolution=resolution, num_classes=classes)
        found[architecture] = macs
        if all(limit.allows({"params": params, "macs": macs}[limit.cost]) for limit in limits):
            kept[architecture] = macs
    return max(kept, key=lambda a: kept[a]) if kept else min(found, key=lambda a: found[a])


def _genotypes(space: DartsSpace, resolution: int) -> Iterator[CellwiseGenotype]:
    """At every node its two costliest candidates, then the second and third, and so on to the cheapest two; then the
    costliest one, and so on. Of equally costly ones the earlier input comes first."""
    macs = candidate_macs(space, resolution=resolution)
    ranked = [
        sorted((c for c, edge in enumerate(node) if edge.op != "none"), key=lambda c: (-float(macs[row, c]), c))
        for row, node in enumerate(space.candidates * space.num_cells)
    ]
    for number in range(_MOST_AT_NODE, 0, -1):
        for rank in range(max(map(len, ranked)) - number + 1):
            windows = [columns[min(rank, len(columns) - number) :][:number] for columns in ranked]
            yield space.genotype([[column in window for column in range(space.columns)] for window in windows])
