"""Ranges (two-sided limits): the relaxed search gives exactly what listing all architectures and plain search give."""

import numpy as np
import pytest
from brute_force import architectures, best, random_problem

from distilnas.errors import InfeasibleError
from distilnas.solve import Limit, solve
from distilnas.solve.chain import build_chain
from distilnas.solve.relax import _opposed, search_ranges
from distilnas.solve.search import search_chain


def a_range(rng, problem, table):
    """A range on the first cost between two random reachable values."""
    cost = problem.cost_names[0]
    ends = sorted(costs[cost] for _, costs, _ in (table[int(rng.integers(len(table)))] for _ in range(2)))
    return Limit(cost=cost, min=ends[0], max=ends[1])


@pytest.mark.parametrize("seeds", [range(5000, 5080), pytest.param(range(5080, 5200), marks=pytest.mark.slow)], ids=str)
def test_equals_brute_force_on_ranges(seeds):
    for seed in seeds:
        rng = np.random.default_rng(seed)
        problem = random_problem(rng, float_cost=seed % 3 == 0)
        table = architectures(problem)
        limits, k = [a_range(rng, problem, table)], int(rng.choice([1, 2, 5, 30]))
        try:
            found = [(s.rating, s.costs, s.positions) for s in solve(problem, limits, k)]
        except InfeasibleError:
            found = []
        assert found == best(problem, limits, table)[:k], f"seed {seed}"


def test_equals_the_plain_search_and_is_tried_for_ranges_only():
    for seed in range(5300, 5340):
        rng = np.random.default_rng(seed)
        problem = random_problem(rng)
        limit = a_range(rng, problem, architectures(problem))
        chain = build_chain(problem, [limit])
        assert (1, 2) in _opposed(chain)
        relaxed, plain = search_ranges(chain, 3), search_chain(chain, 3)
        assert np.array_equal(relaxed.values, plain.values)
        assert np.array_equal(relaxed.numbers, plain.numbers)
        upper = build_chain(problem, [Limit(cost=limit.cost, max=limit.max)])
        assert upper.rows == 2  # goal and one load: nothing to oppose
        assert not _opposed(upper)
