import itertools

import numpy as np
from brute_force import architectures, keeps, random_limits, random_problem

from distilnas.solve import Limit, explain_infeasible
from distilnas.solve.chain import one_sided


def extreme(table, side, others):
    values = [costs[side.cost] for _, costs, _ in table if keeps(costs, others)]
    return (min if side.max is not None else max)(values, default=None)


def test_numbers_and_conflict_equal_brute_force():
    infeasible, joint = 0, 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        problem = random_problem(rng, float_cost=seed % 2 == 0)
        table = architectures(problem)
        limits = random_limits(rng, problem, table)
        sides = one_sided(limits)
        result = explain_infeasible(problem, limits)
        assert [reach.limit for reach in result.reaches] == sides
        for i, reach in enumerate(result.reaches):
            assert reach.alone == extreme(table, reach.limit, [])
            assert reach.given_others == extreme(table, reach.limit, sides[:i] + sides[i + 1 :])
        fits = any(keeps(costs, limits) for _, costs, _ in table)
        assert bool(result.conflict) == (not fits)
        if result.conflict:
            conflict = list(result.conflict)
            assert not any(keeps(costs, conflict) for _, costs, _ in table)
            for part in itertools.combinations(conflict, len(conflict) - 1):
                assert any(keeps(costs, list(part)) for _, costs, _ in table)
        infeasible += not fits
        joint += len(result.conflict) > 1
    assert infeasible > 20
    assert joint > 3


def test_message_says_rule_given_reachable_and_advice():
    problem = random_problem(np.random.default_rng(3))
    least = min(costs["macs"] for _, costs, _ in architectures(problem))
    text = explain_infeasible(problem, [Limit(cost="macs", max=least - 1)]).message()
    assert text == (
        f"No architecture of the space keeps macs <= {least - 1}. The smallest reachable macs is {least}. "
        "Relax this limit or give the space other candidates."
    )
    assert "can be kept" in explain_infeasible(problem, [Limit(cost="macs", max=least)]).message()
