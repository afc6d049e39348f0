"""Regret under budgets: by hand, by brute force, and the best of NAS-Bench-Macro."""

import macro_table
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilnas.errors import InfeasibleError, UsageError
from distilnas.ranking import Comparison, CostBudget, parse_budget, pick


def comparison(scores, truth, macs) -> Comparison:
    arrays = [np.array(values, dtype=float) for values in (scores, truth, macs)]
    return Comparison(
        names=tuple(f"n{i}" for i in range(len(scores))), scores=arrays[0], truth=arrays[1], costs={"macs": arrays[2]}
    )


SMALL = comparison([5, 4, 4, 1, 9], [70, 90, 80, 60, 99], [10, 10, 20, 5, 30])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("40M", CostBudget(cost="macs", limit=40_000_000)),
        ("params=1.2M", CostBudget(cost="params", limit=1_200_000)),
        ("latency_ms=2.5", CostBudget(cost="latency_ms", limit=2.5)),
        ("4e7", CostBudget(cost="macs", limit=40_000_000)),
        ("40000000", CostBudget(cost="macs", limit=40_000_000)),
    ],
)
def test_budget_text(text, expected):
    assert parse_budget(text) == expected


@pytest.mark.parametrize("text", ["", "macs=", "lots", "45%", "-3", "nan", "1e6k", "macs=40M=2Q"])
def test_bad_budget_text(text):
    with pytest.raises(UsageError):
        parse_budget(text)


def test_picks_by_hand():
    found = pick(SMALL, CostBudget(cost="macs", limit=10))
    assert (found.num_fitting, found.picked, found.best) == (3, ("n0",), "n1")
    assert (found.accuracy, found.best_accuracy, found.regret, found.median) == (70, 90, 20, 70)
    assert found.percentile == pytest.approx(100 * 2 / 3)
    without = pick(SMALL)
    assert (without.num_fitting, without.picked, without.regret, without.percentile) == (5, ("n4",), 0, 100)


def test_tied_picks_are_averaged():
    tied = comparison([1, 4, 4, 0], [70, 90, 80, 60], [1, 2, 3, 4])
    found = pick(tied)
    assert (found.picked, found.accuracy, found.regret) == (("n1", "n2"), 85, 5)
    assert found.percentile == pytest.approx((100 + 75) / 2)


def test_nothing_fits_and_unknown_costs():
    with pytest.raises(InfeasibleError, match=r"at most 4 macs; the smallest of the 5 has 5\."):
        pick(SMALL, CostBudget(cost="macs", limit=4))
    with pytest.raises(UsageError, match="the mac of the networks are not known; did you mean 'macs'"):
        pick(SMALL, CostBudget(cost="mac", limit=40))


ROWS = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=3, max_size=12).filter(
    lambda rows: len({r[0] for r in rows}) > 1 and len({r[1] for r in rows}) > 1
)


@given(ROWS, st.integers(0, 6))
def test_picks_against_brute_force(rows, limit):
    fitting = [(score, truth) for score, truth, macs in rows if macs <= limit]
    if not fitting:
        return
    found = pick(comparison(*zip(*rows, strict=True)), CostBudget(cost="macs", limit=limit))
    top = [truth for score, truth in fitting if score == max(s for s, _ in fitting)]
    truths = [truth for _, truth in fitting]
    assert found.accuracy == pytest.approx(sum(top) / len(top))
    assert found.best_accuracy == max(truths)
    shares = [sum(t <= chosen for t in truths) / len(truths) for chosen in top]
    assert found.percentile == pytest.approx(100 * sum(shares) / len(shares))
    assert found.median == pytest.approx(float(np.median(truths)))


@pytest.mark.parametrize(
    ("budget", "accuracy", "name", "median"),
    [
        ("30M", 89.38, "10110100", None),
        ("40M", 91.51, "11110200", 87.57),
        ("60M", 92.57, "21220200", 90.08),
        ("80M", 93.08, "22222200", None),
        (None, 93.13, "22212220", None),
    ],
)
def test_the_best_of_nas_bench_macro_under_budgets(budget, accuracy, name, median):
    """Published accuracies and FLOPs; a score that is the truth itself has no regret."""
    truth = macro_table.column("mean_acc")
    costs = {"macs": macro_table.column("flops")}
    table = Comparison(names=tuple(macro_table.published()), scores=truth, truth=truth, costs=costs)
    found = pick(table, parse_budget(budget) if budget else None)
    assert name in found.picked  # under 30M two networks share the best accuracy
    assert (found.best, found.regret, found.percentile) == (name, 0, 100)
    assert round(found.best_accuracy, 2) == accuracy
    assert median is None or round(found.median, 2) == median
