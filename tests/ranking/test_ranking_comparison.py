"""Bringing scores, truth and costs together."""

import numpy as np
import pytest

from distilnas.errors import UsageError
from distilnas.ranking import Columns, compare, cost_numbers

TRUTH = {"a": 1.0, "b": 3.0, "c": 2.0, "d": 4.0}
SCORES = {"d": 40.0, "c": 20.0, "b": 30.0, "a": 10.0}


def test_numbers_follow_the_names_in_the_truths_order():
    found = compare(SCORES, TRUTH, {"macs": {name: ord(name) for name in "zabcd"}})
    assert found.names == ("a", "b", "c", "d")
    np.testing.assert_array_equal(found.scores, [10, 30, 20, 40])
    np.testing.assert_array_equal(found.truth, [1, 3, 2, 4])
    np.testing.assert_array_equal(found.costs["macs"], [97, 98, 99, 100])


def test_lower_is_better_changes_the_sign():
    np.testing.assert_array_equal(compare(SCORES, TRUTH, lower_is_better=True).scores, [-10, -30, -20, -40])


def test_different_networks_are_named_and_counted_unless_the_common_ones_are_asked_for():
    scores = {name: SCORES[name] for name in "abd"} | {"e": 1.0, "f": 2.0, "g": 3.0, "h": 4.0}
    message = r"4 \(e, f, g, ...\) have no truth; 1 \(c\) have no score.*--common to compare the 3 in both"
    with pytest.raises(UsageError, match=message):
        compare(scores, TRUTH)
    assert compare(scores, TRUTH, common=True).names == ("a", "b", "d")


@pytest.mark.parametrize(
    ("scores", "truth", "message"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, "at least 3 networks, got 2"),
        ({}, {}, "at least 3 networks, got 0"),
        (dict.fromkeys("abcd", 5.0), TRUTH, "all 4 scores are equal.*tau is not defined"),
        (SCORES, dict.fromkeys("abcd", 5.0), "all 4 true accuracies are equal"),
        ({**SCORES, "c": float("nan")}, TRUTH, "scores must be finite; that of 'c'"),
    ],
)
def test_what_has_no_order_is_refused(scores, truth, message):
    with pytest.raises(UsageError, match=message):
        compare(scores, truth)


def test_networks_without_costs_are_named():
    with pytest.raises(UsageError, match=r"2 \(c, d\) have no macs"):
        compare(SCORES, TRUTH, {"macs": {"a": 1, "b": 2}})


def test_flops_stand_in_for_macs():
    columns = Columns(source="f", rows={"a": {"flops": "7", "params": "2", "text": "x"}})
    assert cost_numbers(columns, ["macs", "params"]) == {"macs": {"a": 7.0}, "params": {"a": 2.0}}
    both = Columns(source="f", rows={"a": {"flops": 7, "macs": 5}})
    assert cost_numbers(both, ["macs"]) == {"macs": {"a": 5.0}}
    with pytest.raises(UsageError, match=r"needs the latency_ms of every network, but f has only .*flops"):
        cost_numbers(columns, ["latency_ms"])
