"""Alternatives that really differ: the next best architecture at a distance from all before it."""

import time
from collections.abc import Sequence

import numpy as np

from distilnas.errors import InfeasibleError, UsageError
from distilnas.solve.chain import build_chain
from distilnas.solve.exact import solutions_of
from distilnas.solve.infeasible import explain_infeasible
from distilnas.solve.problem import Limit, SearchProblem, Solution
from distilnas.solve.relax import search_ranges


def diverse(problem: SearchProblem, limits: Sequence[Limit], k: int, min_distance: int) -> list[Solution]:
    """Up to ``k`` architectures, each the best one within ``limits`` that differs from every earlier one in the choice
    of at least ``min_distance`` blocks.

    Greedy, and exact at each step (the number of blocks in common with an earlier solution is one more limited sum):
    a set chosen at once could have a lower total rating. ``optimal`` speaks of the step. Ties are broken as in
    `solve`, with the number of blocks in common counted as further upper-limited costs. Fewer than ``k`` are returned
    when no other architecture is that far away.

    Raises `InfeasibleError` when nothing keeps the limits, `UsageError` unless k >= 1 and min_distance is between 1
    and the number of blocks.
    """
    start = time.perf_counter()
    n_blocks = len(problem.blocks)
    if k < 1:
        raise UsageError(f"k, the number of alternatives, must be at least 1; got {k}.")
    if not 1 <= min_distance <= n_blocks:
        raise UsageError(f"min_distance counts blocks and must be between 1 and {n_blocks}; got {min_distance}.")
    chain = build_chain(problem, limits)
    solutions: list[Solution] = []
    while len(solutions) < k:
        found = search_ranges(chain)
        if not len(found):
            break
        solutions.extend(solutions_of(problem, found, start))
        same = [np.zeros(len(block), dtype=np.int64) for block in problem.blocks]
        for indicator, number in zip(same, found.numbers[0], strict=True):
            indicator[number] = 1
        chain = chain.with_row(same, n_blocks - min_distance)
    if not solutions:
        raise InfeasibleError(explain_infeasible(problem, limits).message())
    return solutions
