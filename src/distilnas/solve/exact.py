"""The best architectures under limits, with proof."""

import time
from collections.abc import Sequence

from distilnas.errors import DistilnasError, InfeasibleError, UsageError
from distilnas.solve.chain import Measure, build_chain, from_grid, positions_of
from distilnas.solve.infeasible import explain_infeasible
from distilnas.solve.problem import Limit, SearchProblem, Solution
from distilnas.solve.relax import search_ranges
from distilnas.solve.search import Found


def solve(
    problem: SearchProblem, limits: Sequence[Limit] = (), k: int = 1, *, time_limit: float | None = None
) -> list[Solution]:
    """The ``k`` architectures with the lowest ratings within ``limits``, best first; fewer when fewer exist.

    Exact, where the authors' released search is a pruned traversal that misses optima. Equal ratings (equal to 1e-15
    of the largest sum) are ordered by the limited costs, first all upper limits in order (less is better), then all
    lower ones (more is better), then by the lexicographically smallest (cell, candidate) positions.

    After ``time_limit`` seconds the best so far is returned with ``optimal`` false where that is not proved; the
    limit governs the enumeration, not the passes over the tables before it.

    Raises `InfeasibleError` when nothing keeps the limits (the message explains what would), `UsageError` for unknown
    costs or k < 1, and `DistilnasError` when time ran out before anything was found.
    """
    start = time.perf_counter()
    if k < 1:
        raise UsageError(f"k, the number of solutions, must be at least 1; got {k}.")
    deadline = None if time_limit is None else start + time_limit
    found = search_ranges(build_chain(problem, limits), k, deadline)
    if not len(found) and found.proved:
        raise InfeasibleError(explain_infeasible(problem, limits).message())
    if not len(found):
        raise DistilnasError(f"no architecture within the limits was found in {time_limit} s. Allow more time.")
    return solutions_of(problem, found, start)


def solutions_of(problem: SearchProblem, found: Found, start: float) -> list[Solution]:
    """The paths found as solutions; ``start`` is when the search began (``time.perf_counter()``)."""
    seconds = time.perf_counter() - start
    solutions = []
    for values, numbers in zip(found.values, found.numbers, strict=True):
        positions = positions_of(problem, numbers)
        rating, costs = problem.evaluate(positions)
        optimal = found.proved or bool(values[0] <= found.bound)
        bound = rating if optimal else min(rating, float(from_grid(problem, Measure(), found.bound)))
        solutions.append(
            Solution(positions=positions, rating=rating, costs=costs, optimal=optimal, bound=bound, seconds=seconds)
        )
    return solutions
