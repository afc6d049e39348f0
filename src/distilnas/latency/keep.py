"""A latency as a hard limit: solve, build, measure, correct the estimate, leave out what was too slow, solve again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from distilnas.errors import InfeasibleError, UsageError
from distilnas.latency.intervals import Timing
from distilnas.solve import Limit
from distilnas.surgery.choose import Chosen

LATENCY = "latency_ms"
ROUNDS = 5
_AIM = 0.97  # of the limit, at which students are looked for first, as long as estimates are all there is
_THEN = 0.99  # later, with the upper ends of measurements: in another process a student may be slower by a little
_NO_LIMIT = 1e12  # the teacher itself is inside
_STEP = 1.05  # by which the estimate is raised when nothing new is found below it
_ENOUGH = 0.93  # of the limit, from which a student uses it well

Propose = Callable[[Sequence[Limit]], list[Chosen]]
"""Students within limits on the estimate, the best by rating first; raises ``InfeasibleError`` where there is none."""
Clock = Callable[[Sequence[Chosen]], list[Timing]]
"""The latency of students over the teacher's, measured together with it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Clocked:
    """A student and its latency: ``estimate_ms`` of the table, and measured as ``ratio`` to the teacher's."""

    chosen: Chosen
    estimate_ms: float
    ratio: Timing
    inside: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """``inside``: students measured inside the limit with 95 %, the best by rating first; ``tried``: all, in order;
    ``rounds``: of solving and measuring."""

    inside: tuple[Clocked, ...]
    tried: tuple[Clocked, ...]
    rounds: int


def latency_limit(limits: Sequence[Limit]) -> Limit | None:
    """The limit on latency, if there is one; raises ``UsageError`` for a lower one."""
    found = next((limit for limit in limits if limit.cost == LATENCY), None)
    if found is not None and (found.max is None or found.min is not None):
        raise UsageError(f"latency_ms is limited from above alone, e.g. latency_ms: 5ms or 50%, got {found}.")
    return found


def keep(
    limits: Sequence[Limit],
    teacher_ms: float,
    propose: Propose,
    fastest: Propose,
    clock: Clock,
    *,
    rounds: int = ROUNDS,
) -> Kept:
    """Students that measure inside ``limits``, one of which is on latency, judged by their ratio to the teacher.

    Each round asks ``propose`` for students whose estimate, times what measured ones may be over theirs, is a little
    below the limit; those that are new are measured. It ends when the best uses the limit well, when nothing new comes,
    and after so many ``rounds``. ``fastest`` proposes when nothing else is inside.

    Raises ``InfeasibleError`` when no student measures inside; the message has the smallest latency that was measured.
    """
    limit = latency_limit(limits)
    assert limit is not None
    assert limit.max is not None
    others = [one for one in limits if one.cost != LATENCY]
    share = limit.max / teacher_ms
    tried: dict[object, Clocked] = {}
    goal_ms, number = (_AIM * limit.max if share < 1 else _NO_LIMIT), 0
    for number in range(1, rounds + 1):
        goal = Limit(cost=LATENCY, max=goal_ms)
        none_yet = number == rounds and not any(one.inside for one in tried.values())
        found = _proposed(fastest if none_yet else propose, fastest, [*others, goal])
        new = [one for one in found if one.choice not in tried]
        if not new and any(one.inside for one in tried.values()):
            break
        if not new:
            goal_ms /= _STEP
            continue
        for one, ratio in zip(new, clock(new), strict=True):
            estimate = float(one.solution.costs[LATENCY])
            inside = ratio.high <= share
            tried[one.choice] = Clocked(chosen=one, estimate_ms=estimate, ratio=ratio, inside=inside)
        best = tried[found[0].choice]
        if best.inside and best.ratio.median >= _ENOUGH * share:
            break
        goal_ms = _THEN * limit.max / _excess([tried[one.choice] for one in new], teacher_ms)
    inside = sorted((one for one in tried.values() if one.inside), key=lambda one: one.chosen.solution.rating)
    if not inside:
        raise InfeasibleError(_why_not(limit, teacher_ms, list(tried.values())))
    return Kept(inside=tuple(inside), tried=tuple(tried.values()), rounds=number)


def _proposed(propose: Propose, fastest: Propose, limits: Sequence[Limit]) -> list[Chosen]:
    try:
        return propose(limits)
    except InfeasibleError:
        return fastest(limits)


def _excess(measured: Sequence[Clocked], teacher_ms: float) -> float:
    """By what factor students may be slower than estimated."""
    return float(np.median([one.ratio.high * teacher_ms / one.estimate_ms for one in measured]))


def _why_not(limit: Limit, teacher_ms: float, tried: Sequence[Clocked]) -> str:
    least = min(tried, key=lambda one: one.ratio.high).ratio
    return (
        f"no student of this library measures inside latency_ms <= {limit.max:.3g}: the smallest that was measured "
        f"takes {least.median * teacher_ms:.3g} ms ({least.low * teacher_ms:.3g} to {least.high * teacher_ms:.3g}), "
        f"{least.median:.0%} of the teacher's. Relax this limit or give the library smaller ratios."
    )
