import numpy as np
import pytest
from brute_force import architectures, best, random_limits, random_problem

from distilnas.errors import InfeasibleError
from distilnas.solve import solve_milp


def test_equals_brute_force():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        problem = random_problem(rng)
        limits = random_limits(rng, problem, architectures(problem))
        fitting = best(problem, limits)
        if fitting:
            assert solve_milp(problem, limits).rating == pytest.approx(fitting[0][0], abs=1e-9)
        else:
            with pytest.raises(InfeasibleError):
                solve_milp(problem, limits)
