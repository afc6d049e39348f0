"""`solve` against listing all architectures, against HiGHS, and at the size of DNA's search."""

import numpy as np
import pytest
from brute_force import architectures, best, random_limits, random_problem
from dna_space import dna_problem

from distilnas.errors import DistilnasError, InfeasibleError
from distilnas.solve import BlockCandidates, CellCandidates, Limit, SearchProblem, search, solve, solve_milp


def answers(problem, limits, k):
    try:
        return [(s.rating, s.costs, s.positions) for s in solve(problem, limits, k)]
    except InfeasibleError:
        return []


def check_seeds(seeds):
    infeasible = 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        problem = random_problem(rng, float_cost=seed % 3 == 0)
        table = architectures(problem)
        limits, k = random_limits(rng, problem, table), int(rng.choice([1, 1, 2, 5]))
        expected = best(problem, limits, table)[:k]
        assert answers(problem, limits, k) == expected, f"seed {seed}: {limits}, k={k}"
        infeasible += not expected
    assert infeasible  # the seeds cover this case too


@pytest.mark.parametrize("seeds", [range(200, 400), pytest.param(range(400, 800), marks=pytest.mark.slow)], ids=str)
def test_equals_brute_force(seeds):
    check_seeds(seeds)


@pytest.mark.parametrize("seeds", [range(1000, 1100), pytest.param(range(1100, 1250), marks=pytest.mark.slow)], ids=str)
def test_equals_brute_force_through_the_reduction_of_large_spaces(seeds, monkeypatch):
    monkeypatch.setattr(search, "_SMALL", 0)
    monkeypatch.setattr("distilnas.solve.reduce._SAMPLED", 1)
    monkeypatch.setattr("distilnas.solve.reduce._CORE", 3)
    monkeypatch.setattr("distilnas.solve.reduce._CROWDED", 3)
    monkeypatch.setattr(search, "_CROWDED", 3)
    check_seeds(seeds)


@pytest.mark.parametrize("seed", range(6))
def test_equals_highs_on_middle_sizes(seed):
    problem = dna_problem(seed, cells=2, depth=1 + seed % 2)
    free = solve(problem)[0]
    macs = int(free.costs["macs"] * (0.7 + 0.05 * seed))
    limits = [Limit(cost="macs", max=macs), Limit(cost="params", max=int(free.costs["params"] * 0.9))]
    if seed % 3 == 0:
        limits[0] = Limit(cost="macs", max=macs, min=int(macs * 0.98))
    ours, reference = solve(problem, limits)[0], solve_milp(problem, limits)
    assert reference.optimal
    assert ours.rating == pytest.approx(reference.rating, abs=1e-6)
    assert all(limit.allows(ours.costs[limit.cost]) for limit in limits)


@pytest.mark.parametrize("levels", [None, 100])
def test_dna_size_is_proved(levels):
    problem = dna_problem(0, cells=3, depth=5, levels=levels)
    free = solve(problem)[0]
    limits = [Limit(cost=c, max=int(free.costs[c] * 0.7)) for c in ("macs", "params")]
    solutions = solve(problem, limits, k=5)
    assert all(s.optimal and s.bound == s.rating for s in solutions)
    assert len({s.positions for s in solutions}) == 5
    assert [s.rating for s in solutions] == sorted(s.rating for s in solutions)
    assert solutions[0].rating > free.rating
    assert all(limit.allows(s.costs[limit.cost]) for limit in limits for s in solutions)


def test_equal_ratings_everywhere_give_the_cheapest():
    problem = dna_problem(0, cells=2, depth=3, levels=None)
    flat = SearchProblem(
        blocks=tuple(
            BlockCandidates(
                name=b.name,
                in_widths=b.in_widths,
                cells=tuple(
                    CellCandidates(name=c.name, width=c.width, ratings=np.zeros(len(c)), costs=c.costs) for c in b.cells
                ),
            )
            for b in problem.blocks
        ),
    )
    cheapest = solve(flat, [Limit(cost="macs", max=10**12)])[0].costs["macs"]
    assert solve(flat, [Limit(cost="macs", max=cheapest)])[0].costs["macs"] == cheapest
    with pytest.raises(InfeasibleError, match=f"smallest reachable macs is {cheapest:,}"):
        solve(flat, [Limit(cost="macs", max=cheapest - 1)])


def test_the_cost_of_a_solution_may_be_given_back_as_limit():
    rng = np.random.default_rng(0)
    for _ in range(30):  # latencies with rounding errors in their sums
        cells = [
            CellCandidates(name="c", width=8, ratings=rng.random(5), costs={"ms": rng.random((1, 5))}) for _ in range(4)
        ]
        blocks = [BlockCandidates(name=f"b{i}", in_widths=(8,), cells=(c,)) for i, c in enumerate(cells)]
        problem = SearchProblem(blocks=tuple(blocks))
        found = solve(problem, [Limit(cost="ms", max=float(rng.uniform(1.5, 2.5)))])[0]
        again = solve(problem, [Limit(cost="ms", max=found.costs["ms"])])[0]
        assert again.positions == found.positions
        assert solve(problem, [Limit(cost="ms", min=found.costs["ms"])])[0].rating <= found.rating


def test_limits_far_from_everything_change_nothing():
    problem = random_problem(np.random.default_rng(5))
    wide = [Limit(cost="macs", max=10**30, min=-(10**30))]
    assert solve(problem, wide)[0].rating == solve(problem)[0].rating


def test_out_of_time_is_honest():
    problem = dna_problem(1, cells=2, depth=3)
    limits = [Limit(cost="macs", max=int(solve(problem)[0].costs["macs"] * 0.8))]
    with pytest.raises(DistilnasError, match="Allow more time"):
        solve(problem, limits, time_limit=0.0)
    best_rating = solve(problem, limits, k=40)
    for seconds in (0.02, 0.05, 0.1):
        try:
            solutions = solve(problem, limits, k=40, time_limit=seconds)
        except DistilnasError:
            continue
        for place, solution in enumerate(solutions):
            assert solution.bound <= best_rating[place].rating + 1e-12
            assert solution.rating >= best_rating[place].rating
