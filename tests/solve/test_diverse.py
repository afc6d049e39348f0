import numpy as np
import pytest
from brute_force import architectures, best, random_limits, random_problem

from distilnas.errors import InfeasibleError, UsageError
from distilnas.solve import Limit, diverse


def distance(a, b):
    return sum(x != y for x, y in zip(a, b, strict=True))


def test_every_step_is_the_best_far_enough_away():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        problem = random_problem(rng)
        limits = random_limits(rng, problem, architectures(problem))
        apart = int(rng.integers(1, len(problem.blocks) + 1))
        fitting = best(problem, limits)
        if not fitting:
            with pytest.raises(InfeasibleError):
                diverse(problem, limits, 4, apart)
            continue
        got = diverse(problem, limits, 4, apart)
        earlier = []
        for solution in got:
            far = [e[0] for e in fitting if all(distance(e[2], other) >= apart for other in earlier)]
            assert solution.rating == far[0]
            assert all(distance(solution.positions, other) >= apart for other in earlier)
            earlier.append(solution.positions)
        if len(got) < 4:
            assert not any(all(distance(e[2], other) >= apart for other in earlier) for e in fitting)


@pytest.mark.parametrize(("k", "apart", "message"), [(0, 1, "got 0"), (2, 0, "between 1 and"), (2, 9, "between 1 and")])
def test_wrong_arguments(k, apart, message):
    with pytest.raises(UsageError, match=message):
        diverse(random_problem(np.random.default_rng(1)), [Limit(cost="macs", max=9)], k, apart)
