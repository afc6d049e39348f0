"""The loop that keeps a latency's word, with students whose true latency the test knows."""

import math

import pytest

from distilnas.errors import InfeasibleError, UsageError
from distilnas.latency import Timing
from distilnas.latency.keep import LATENCY, keep, latency_limit
from distilnas.solve import Limit, Solution
from distilnas.surgery.choose import Chosen
from distilnas.surgery.library import Choice

TEACHER_MS = 100.0


def student(estimate: float) -> Chosen:
    """One that rates the better the slower it is."""
    solution = Solution(
        positions=(), rating=-estimate, costs={LATENCY: estimate}, optimal=True, bound=-estimate, seconds=0.0
    )
    return Chosen(choice=Choice(kept=((round(10 * estimate),),)), solution=solution)


ALL = [student(float(ms)) for ms in range(10, 101)]


def propose(limits: list[Limit]) -> list[Chosen]:
    (most,) = (limit.max for limit in limits if limit.cost == LATENCY)
    found = [one for one in ALL if one.solution.costs[LATENCY] <= most]
    if not found:
        raise InfeasibleError("none")
    return sorted(found, key=lambda one: one.solution.rating)[:2]


def fastest(_limits: list[Limit]) -> list[Chosen]:
    return ALL[:1]


def clock(factor: float, noise: float = 0.01):
    def measured(some: list[Chosen]) -> list[Timing]:
        ratios = [factor * one.solution.costs[LATENCY] / TEACHER_MS for one in some]
        return [Timing(median=r, low=r * (1 - noise), high=r * (1 + noise)) for r in ratios]

    return measured


@pytest.mark.parametrize("factor", [0.7, 0.95, 1.0, 1.1, 1.5])
def test_a_wrong_estimate_is_corrected(factor: float) -> None:
    """Students come in steps of 1 of 100 ms: inside with the upper end of the interval, and close to the limit."""
    kept = keep([Limit(cost=LATENCY, max=50.0)], TEACHER_MS, propose, fastest, clock(factor))
    best = kept.inside[0]
    assert best.ratio.high <= 0.5
    assert best.ratio.median >= 0.93 * 0.5
    assert best.estimate_ms * factor == pytest.approx(best.ratio.median * TEACHER_MS)
    assert kept.rounds <= 3
    assert all(one.inside == (one.ratio.high <= 0.5) for one in kept.tried)


def test_where_nothing_is_inside_the_smallest_measured_is_told() -> None:
    """The fastest is estimated at 10 ms and takes 30."""
    with pytest.raises(InfeasibleError, match=r"takes 30 ms \(29.7 to 30.3\), 30% of the teacher's"):
        keep([Limit(cost=LATENCY, max=20.0)], TEACHER_MS, propose, fastest, clock(3.0))


def test_an_estimate_above_the_limit_is_no_reason_not_to_measure() -> None:
    kept = keep([Limit(cost=LATENCY, max=8.0)], TEACHER_MS, propose, fastest, clock(0.5))
    assert kept.inside[0].ratio.median == pytest.approx(0.08, rel=0.1)


def test_rounds_are_counted_and_end() -> None:
    asked = []

    def never(some: list[Chosen]) -> list[Timing]:
        asked.append(len(some))
        return [Timing(median=2.0, low=2.0, high=2.0 + math.log(len(asked) + 1)) for _ in some]

    with pytest.raises(InfeasibleError):
        keep([Limit(cost=LATENCY, max=50.0)], TEACHER_MS, propose, fastest, never)
    assert len(asked) <= 5


def test_only_upper_limits() -> None:
    assert latency_limit([Limit(cost="macs", max=3)]) is None
    with pytest.raises(UsageError, match="from above alone"):
        latency_limit([Limit(cost=LATENCY, min=1.0, max=2.0)])
