from itertools import pairwise

import numpy as np
import pytest
from brute_force import architectures, best, order, random_limits, random_problem
from dna_space import dna_problem

from distilnas.errors import InfeasibleError, UsageError
from distilnas.solve import Limit, front, pareto_front, solve


def expected_front(problem, cost, limits):
    """Of all fitting architectures those with no cheaper-or-equal one that rates at least as well."""
    points = []
    for entry in sorted(best(problem, limits), key=lambda e: (e[1][cost], order(e, limits))):
        if not points or entry[0] < points[-1][0]:
            points.append(entry)
    return points


@pytest.mark.parametrize("few", [0, 600])
def test_equals_brute_force(few, monkeypatch):
    monkeypatch.setattr(front, "_FEW", few)
    for seed in range(50):
        rng = np.random.default_rng(seed)
        problem = random_problem(rng, float_cost=seed % 3 == 0)
        limits = random_limits(rng, problem, architectures(problem))
        cost = str(rng.choice(problem.cost_names))
        try:
            got = [(s.rating, s.costs, s.positions) for s in pareto_front(problem, cost, limits)]
        except InfeasibleError:
            got = []
        assert got == expected_front(problem, cost, limits), f"seed {seed}: {cost}, {limits}"


@pytest.mark.parametrize("limited", [False, True])
def test_agrees_with_solve_at_dna_size(limited):
    problem = dna_problem(2, cells=2, depth=4)
    params = solve(problem)[0].costs["params"]
    limits = [Limit(cost="params", max=int(params * 0.8))] if limited else []
    points = pareto_front(problem, "macs", limits)
    assert len(points) > 50
    assert all(s.optimal for s in points)
    for left, right in list(pairwise(points))[::40]:
        assert left.costs["macs"] < right.costs["macs"]
        assert left.rating > right.rating
        up_to_before_right = [*limits, Limit(cost="macs", max=right.costs["macs"] - 1)]
        assert solve(problem, up_to_before_right)[0].rating == pytest.approx(left.rating, abs=1e-12)
        assert solve(problem, [*limits, Limit(cost="macs", max=right.costs["macs"])])[0].rating == right.rating


def test_unknown_cost_and_impossible_limits():
    problem = random_problem(np.random.default_rng(0))
    with pytest.raises(UsageError, match="'latency'"):
        pareto_front(problem, "latency")
    with pytest.raises(InfeasibleError, match="smallest reachable macs"):
        pareto_front(problem, "params", [Limit(cost="macs", max=-5)])
