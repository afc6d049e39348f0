"""Budgets in all their forms, and the words for those that are none."""

import pytest

from distilnas.errors import UsageError
from distilnas.recipes.budgets import BudgetSettings, check_known, completed, limits_of, overrides_of, to_limits
from distilnas.recipes.catalogue import load_settings
from distilnas.solve import Limit

TEACHER = {"macs": 999, "params": 5_000_000, "bytes": 20_000_003}
NONE = BudgetSettings()


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (None, ()),
        ({}, ()),
        ({"macs": None}, ()),
        ({"macs": 7}, (Limit(cost="macs", max=7),)),
        ({"macs": "40%"}, (Limit(cost="macs", max=399),)),  # rounded down
        ({"params": {"min": "1M", "max": "2M"}}, (Limit(cost="params", min=10**6, max=2 * 10**6),)),
        ({"params": "1M..2M"}, (Limit(cost="params", min=10**6, max=2 * 10**6),)),
        ({"params": "10% .. "}, (Limit(cost="params", min=500_000),)),
        ({"params": {"min": "1M"}}, (Limit(cost="params", min=10**6),)),
        ({"bytes": "5MB", "macs": 0.5}, (Limit(cost="macs", max=0), Limit(cost="bytes", max=5 * 10**6))),
        ({"bytes": "50%"}, (Limit(cost="bytes", max=10_000_001),)),
    ],
)
def test_forms_of_a_budget(budget, expected):
    assert to_limits(budget, NONE, TEACHER) == expected


def test_short_forms():
    short = BudgetSettings(max_macs="40%", max_params="1.2k", min_macs=7)
    expected = (Limit(cost="macs", min=7, max=399), Limit(cost="params", max=1200))
    assert to_limits(None, short, TEACHER) == expected
    assert to_limits({"bytes": "9M"}, short, TEACHER) == (*expected, Limit(cost="bytes", max=9_000_000))


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"mac": 7}, "a budget is on a measure, but 'mac' is none; did you mean 'macs'"),
        ({"params": {"mim": 7}}, "budget.params has min and max, not 'mim'; did you mean 'min'"),
        ({"macs": "40MB"}, "budget of macs: not an amount: '40MB'"),
        ({"bytes": "5 apples"}, "budget of bytes: not an amount.*5MB"),
        ({"macs": [1, 2]}, "budget of macs: not an amount"),
        ({"macs": "2M..1M"}, "min <= max"),
        ({"params": 7}, "given twice, as budget.params and as solve.min_params"),
    ],
)
def test_what_is_no_budget(budget, words):
    with pytest.raises(UsageError, match=words):
        to_limits(budget, BudgetSettings(min_params=1), TEACHER)


def test_shares_need_the_teachers_value():
    with pytest.raises(UsageError, match="nothing here that it could be a share of"):
        to_limits({"macs": "40%"}, NONE, None)
    with pytest.raises(UsageError, match="bytes is a share of the teacher's, which this run has not measured"):
        to_limits({"bytes": "40%"}, NONE, {"macs": 1, "params": 1})


def test_measures_that_a_run_knows():
    check_known((Limit(cost="macs", max=1),), ("macs",), remedy="")
    with pytest.raises(UsageError, match="on bytes, but this run knows macs and params only; begin a new one"):
        check_known((Limit(cost="bytes", max=1),), ("macs", "params"), remedy="begin a new one")


def quickstart(*overrides: str) -> list[str]:
    """Limits of the shipped configuration, which has solve.max_macs and solve.max_params at 45 %."""
    return [str(limit) for limit in limits_of(load_settings("quickstart", overrides), TEACHER)]


def test_an_override_takes_the_place_of_what_the_configuration_says_in_the_other_form():
    assert quickstart() == ["macs <= 449", "params <= 2,250,000"]
    assert quickstart("budget.macs=30%") == ["macs <= 299", "params <= 2,250,000"]
    assert quickstart("budget.macs.min=30%") == ["299 <= macs", "params <= 2,250,000"]
    assert quickstart("budget.bytes=5M", "solve.max_macs=7") == [
        "macs <= 7",
        "params <= 2,250,000",
        "bytes <= 5,000,000",
    ]
    with pytest.raises(UsageError, match="given twice"):
        quickstart("budget.macs=30%", "solve.min_macs=7")
    assert completed(("dna.budget.macs=3", "a.b=1")) == (
        *("dna.budget.macs=3", "a.b=1"),
        *("dna.solve.min_macs=null", "dna.solve.max_macs=null"),
    )


def test_budgets_of_the_command_line_take_the_place_of_all():
    assert overrides_of([]) == overrides_of([], {"max_macs": None}) == ()
    assert quickstart(*overrides_of(["bytes=5MB", "macs = 10..20"])) == ["10 <= macs <= 20", "bytes <= 5,000,000"]
    assert quickstart(*overrides_of([], {"max_macs": "10"})) == ["macs <= 10"]
    assert quickstart("budget.macs=5", *overrides_of([], {"max_params": "10"})) == ["params <= 10"]
    with pytest.raises(UsageError, match="given twice"):
        quickstart(*overrides_of(["macs=5MB"], {"max_macs": "10"}))
    for texts, words in (
        (["macs"], "a budget is MEASURE=AMOUNT"),
        (["flops=3M"], "'flops' is none"),
        (["macs=3", "macs=4"], "given twice, 3 and 4"),
    ):
        with pytest.raises(UsageError, match=words):
            overrides_of(texts)


def test_a_run_without_a_budget_is_recorded_as_ever():
    assert "budget" not in load_settings("quickstart").to_dict()
    assert load_settings("quickstart", ("budget.macs=30%",)).to_dict()["budget"] == {"macs": "30%"}
