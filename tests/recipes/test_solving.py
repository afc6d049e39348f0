"""Budgets to limits, and the check that needs no ratings."""

import pytest

from distilnas.costing import cost_table
from distilnas.errors import InfeasibleError, UsageError
from distilnas.recipes.settings import RandomSettings, SolveSettings
from distilnas.recipes.solving import check_budget, limits_of, random_choices, random_in_budget
from distilnas.solve import Limit
from distilnas.space import FittedSpace

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


def test_random_in_budget_says_when_there_are_too_few(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("distilnas.recipes.solving._DRAWS", 500)
    exactly = (Limit(cost="macs", min=min(EVERY), max=min(EVERY)),)
    with pytest.raises(UsageError, match=r"lower random\.min_share or random\.number"):
        random_in_budget(SPACE, COSTS, exactly, RandomSettings(number=2), min(EVERY), 0)
