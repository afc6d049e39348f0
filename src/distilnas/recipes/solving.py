"""The solve step: budgets in, proved best architecture, alternatives and Pareto fronts out."""

from pathlib import Path
from typing import Any

import numpy as np

from distilnas.costing import cost_table
from distilnas.errors import InfeasibleError, UsageError
from distilnas.recipes.budgets import Budget, check_known, to_limits
from distilnas.recipes.settings import RandomSettings, SolveSettings
from distilnas.records.solution import Fronts, LimitRecord, Solved, SolvedNetwork, Tie
from distilnas.runtime.seeds import derive_rng
from distilnas.solve import (
    Limit,
    SearchProblem,
    Solution,
    batch_ratings,
    diverse,
    explain_infeasible,
    pareto_front,
    search_problem,
    solve,
    tie_test,
    to_choice,
)
from distilnas.space import Architecture, Candidate, Choice, FixedLayer, SearchSpace
from distilnas.tables import CostTable, RatingTable, indifferent
from distilnas.tables.csv import read_ratings
from distilnas.tables.measures import shown

_COUNT_AGAIN = "its costs were counted by an older version: delete the run's folder `cost`, and they are counted again."
_DRAWS = 100_000
_FEW_DRAWS = 5_000
_MOST_NAMES = 1000


def check_budget(space: SearchSpace, costs: CostTable, limits: tuple[Limit, ...]) -> None:
    """Raise ``InfeasibleError`` with what can be reached when no architecture keeps the limits; needs no ratings."""
    reason = explain_infeasible(search_problem(space, indifferent(space), costs), limits)
    if reason.conflict:
        raise InfeasibleError(reason.message())


def solve_run(
    space: SearchSpace, ratings: RatingTable, costs: CostTable, limits: tuple[Limit, ...], alternatives: int
) -> tuple[Solved, Fronts]:
    """The answer of a run and its fronts; raises ``InfeasibleError`` with the reason when nothing fits.

    Fronts are drawn for the costs that are always shown and those with a limit.

    Where layers can be left out, one network may stand in the space by several names: neither runners-up nor diverse
    alternatives list it twice, and there may be fewer of them than asked for.
    """
    check_known(limits, costs.costs, remedy=_COUNT_AGAIN)
    problem = search_problem(space, ratings, costs)
    best, *next_best = _best_networks(space, problem, limits, 1 + max(1, alternatives))
    others: list[Solution] = []
    if alternatives:
        others = _once(space, diverse(problem, limits, alternatives + 1, min_distance=2))[1:]
    named = [*(("runner-up", s) for s in next_best[:alternatives]), *(("diverse", s) for s in others)]
    solved = Solved(
        budgets={limit.cost: LimitRecord(min=limit.min, max=limit.max) for limit in limits},
        num_architectures=space.num_architectures,
        solution=_network(space, best),
        alternatives=tuple(_network(space, solution, kind) for kind, solution in named),
        tie=_tie(space, ratings, best, next_best[0]) if next_best and _has_batches(ratings) else None,
    )
    drawn = shown(costs.costs, (limit.cost for limit in limits))
    return solved, {cost: tuple(_network(space, s) for s in pareto_front(problem, cost)) for cost in drawn}


def solve_table(
    space: SearchSpace,
    ratings: Path,
    settings: SolveSettings,
    *,
    budget: Budget | None = None,
    resolution: int,
    num_classes: int,
) -> Solved:
    """The answer for a rating table made elsewhere (.npz or CSV); there is no teacher that shares refer to."""
    costs = cost_table(space, resolution=resolution, num_classes=num_classes)
    limits = to_limits(budget, settings, None)
    return solve_run(space, read_ratings(ratings, space), costs, limits, settings.alternatives)[0]


def read_choice(data: list[dict[str, Any]], space: SearchSpace) -> Choice:
    """The choice in a solution's JSON form."""
    return space.with_head(tuple(Candidate(cell=c["cell"], path=tuple(c["path"])) for c in data))


def random_choices(space: SearchSpace, number: int, seed: int) -> list[Choice]:
    """Distinct choices, each block's candidates equally likely (fewer when the space is small)."""
    rng = derive_rng(seed, 5)
    found: dict[Choice, None] = {}
    for _ in range(20 * number):
        if len(found) < number:
            found[_draw(space, rng)] = None
    return list(found)


def keeps(space: SearchSpace, costs: CostTable, limits: tuple[Limit, ...], choice: Choice) -> bool:
    """Whether the network of ``choice`` is within all limits."""
    total = costs.total(space, choice)
    return all(limit.allows(total[limit.cost]) for limit in limits)


def more_within(
    space: SearchSpace, costs: CostTable, limits: tuple[Limit, ...], drawn: list[Choice], least: int, seed: int
) -> list[Choice]:
    """Further random choices, so that with those of ``drawn`` at least ``least`` keep the limits; fewer where such
    networks are rare."""
    missing = least - sum(keeps(space, costs, limits, choice) for choice in drawn)
    rng, found = derive_rng(seed, 12), dict[Choice, None]()
    for _ in range(_FEW_DRAWS):
        if len(found) >= missing:
            break
        choice = _draw(space, rng)
        if choice not in drawn and keeps(space, costs, limits, choice):
            found[choice] = None
    return list(found)


def random_in_budget(
    space: SearchSpace, costs: CostTable, limits: tuple[Limit, ...], settings: RandomSettings, macs: int, seed: int
) -> list[Architecture]:
    """Random architectures that keep the limits and cost at least ``min_share`` of ``macs``, by rejection."""
    rng = derive_rng(seed, 6)
    found: dict[tuple[FixedLayer, ...], Architecture] = {}
    for _ in range(_DRAWS):
        if len(found) == settings.number:
            return list(found.values())
        choice = _draw(space, rng)
        total = costs.total(space, choice)
        if total["macs"] >= settings.min_share * macs and all(limit.allows(total[limit.cost]) for limit in limits):
            architecture = space.architecture(choice)
            found.setdefault(architecture.acting_layers, architecture)
    raise UsageError(
        f"found only {len(found)} of {settings.number} random networks from {settings.min_share:.0%} of the solution's "
        f"MACs to the budget in {_DRAWS:,} draws; lower random.min_share or random.number."
    )


def _best_networks(
    space: SearchSpace, problem: SearchProblem, limits: tuple[Limit, ...], number: int
) -> list[Solution]:
    """The best ``number`` different networks; fewer where the first ``_MOST_NAMES`` names hold no more."""
    asked = number
    while True:
        listed = solve(problem, limits, k=asked)
        found = _once(space, listed)
        if len(found) >= number or len(listed) < asked or asked >= _MOST_NAMES:
            return found[:number]
        asked = min(2 * asked, _MOST_NAMES)


def _once(space: SearchSpace, solutions: list[Solution]) -> list[Solution]:
    """Each network by the first of its names."""
    found: dict[tuple[FixedLayer, ...], Solution] = {}
    for solution in solutions:
        found.setdefault(space.architecture(to_choice(space, solution.positions)).acting_layers, solution)
    return list(found.values())


def _draw(space: SearchSpace, rng: np.random.Generator) -> Choice:
    choice = []
    for block in space.blocks:
        position = int(rng.integers(block.num_candidates))
        for f, family in enumerate(block.families):
            if position < family.num_paths:
                path = np.unravel_index(position, family.shape)
                choice.append(Candidate(cell=f, path=tuple(int(i) for i in path)))
                break
            position -= family.num_paths
    return tuple(choice)


def _network(space: SearchSpace, solution: Solution, kind: str = "") -> SolvedNetwork:
    choice = to_choice(space, solution.positions)
    return SolvedNetwork(
        kind=kind,
        choice=choice,
        architecture=str(space.architecture(choice)),
        rating=solution.rating,
        costs=dict(solution.costs),
        optimal=solution.optimal,
        bound=solution.bound,
        seconds=solution.seconds,
    )


def _has_batches(ratings: RatingTable) -> bool:
    """Whether the ratings can be compared batch by batch; those of a CSV file cannot."""
    return len(ratings.cells[0][0].batches) > 1


def _tie(space: SearchSpace, ratings: RatingTable, best: Solution, rival: Solution) -> Tie:
    """Paired comparison of the best two over the batches of rating images."""
    tie = tie_test(best.positions, rival.positions, batch_ratings(ratings))
    return Tie(
        tied=tie.tied,
        difference=tie.difference,
        stderr=tie.standard_error,
        p_value=tie.p_value,
        rival=str(space.architecture(to_choice(space, rival.positions))),
    )
