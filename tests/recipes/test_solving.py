"""Budgets to limits, and the check that needs no ratings."""

import itertools

import numpy as np
import pytest

from distilnas.costing import cost_table
from distilnas.errors import InfeasibleError, UsageError
from distilnas.recipes.settings import RandomSettings, SolveSettings
from distilnas.recipes.solving import check_budget, limits_of, random_choices, random_in_budget, solve_run
from distilnas.solve import Limit
from distilnas.space import FittedSpace, preset
from distilnas.tables import CellRatings, RatingTable

SPACE = FittedSpace(depths=(1, 2), kernels=(3,), expansions=(2, 3), stem_width=8, head_width=16).fit([16, 32], [4, 8])
COSTS = cost_table(SPACE, resolution=32, num_classes=3)
EVERY = [COSTS.total(SPACE, choice)["macs"] for choice in random_choices(SPACE, 10_000, 0)]


def test_limits_are_numbers_or_shares_of_the_teacher():
    settings = SolveSettings(max_macs="40%", max_params="1.2k", min_macs=7)
    assert limits_of(settings, {"macs": 999, "params": 1}) == (
        Limit(cost="macs", min=7, max=399),
        Limit(cost="params", min=None, max=1200),
    )
    assert limits_of(SolveSettings(), {"macs": 999, "params": 1}) == ()


def test_random_choices_cover_a_small_space():
    assert len(EVERY) == SPACE.num_architectures


def test_check_agrees_with_enumeration():
    check_budget(SPACE, COSTS, ())
    check_budget(SPACE, COSTS, (Limit(cost="macs", max=min(EVERY)),))
    with pytest.raises(InfeasibleError, match=f"smallest reachable macs is {min(EVERY):,}"):
        check_budget(SPACE, COSTS, (Limit(cost="macs", max=min(EVERY) - 1),))
    with pytest.raises(InfeasibleError, match=f"largest reachable macs is {max(EVERY):,}"):
        check_budget(SPACE, COSTS, (Limit(cost="macs", min=max(EVERY) + 1),))


def test_a_network_of_several_names_is_listed_once():
    """Against all names of NAS-Bench-Macro summed: a layer left out behind the first of a width is nothing there.

    Ratings are those of the ops, whatever their place in a width, but for some noise: names of a network are alike.
    """
    space, rng = preset("nas-bench-macro"), np.random.default_rng(0)
    means = []
    for depth in (2, 3, 3):
        first, others = rng.uniform(size=(2, 3))
        noise = rng.uniform(0, 0.01, (3,) * depth)
        means.append(noise + sum(np.meshgrid(first, *[others] * (depth - 1), indexing="ij")))
    cells = tuple((CellRatings(mean=x, stderr=0 * x, batches=np.stack([x, x + 0.1])),) for x in means)
    ratings = RatingTable(space=space.fingerprint, metric="relative_l1", num_images=2, cells=cells)
    best: dict[str, float] = {}
    for digits in itertools.product(range(3), repeat=8):
        stages = [digits[:2], digits[2:5], digits[5:]]
        network = str([(first, [op for op in rest if op]) for first, *rest in stages])
        rating = sum(x[path] for x, path in zip(means, stages, strict=True))
        best[network] = min(rating, best.get(network, np.inf))
    assert len(best) == 3969
    costs = cost_table(space, resolution=32, num_classes=10)
    record, _ = solve_run(space, ratings, costs, (), alternatives=20)
    runners_up = [found for found in record["alternatives"] if found["kind"] == "runner-up"]
    listed = [found["rating"] for found in (record["solution"], *runners_up)]
    assert listed == pytest.approx(sorted(best.values())[:21])
    assert record["tie"]["rival"] == runners_up[0]["architecture"]


def test_random_in_budget_says_when_there_are_too_few(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("distilnas.recipes.solving._DRAWS", 500)
    exactly = (Limit(cost="macs", min=min(EVERY), max=min(EVERY)),)
    with pytest.raises(UsageError, match=r"lower random\.min_share or random\.number"):
        random_in_budget(SPACE, COSTS, exactly, RandomSettings(number=2), min(EVERY), 0)
