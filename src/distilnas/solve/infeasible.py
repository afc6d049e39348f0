"""Why no architecture keeps the limits, in numbers that tell what would."""

from collections.abc import Sequence
from dataclasses import dataclass

from distilnas.solve.chain import build_chain, from_grid, measure_of, one_sided
from distilnas.solve.problem import Limit, Number, SearchProblem
from distilnas.solve.relax import search_ranges


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far one one-sided limit can be met: the smallest value of its cost (for a max) or the largest (for a min),
    with no other limit, and with all other limits kept (``None`` when these alone leave nothing)."""

    limit: Limit
    alone: Number
    given_others: Number | None

    @property
    def reachable_alone(self) -> bool:
        return self.limit.allows(self.alone)


@dataclass(frozen=True, kw_only=True)
class Infeasibility:
    """``reaches`` has one entry for each end of each limit (all upper ones first). ``conflict`` is a minimal set of
    them: together they leave nothing, without any one of them something is left. Empty when the limits can be kept."""

    reaches: tuple[Reach, ...]
    conflict: tuple[Limit, ...]

    def message(self) -> str:
        """One paragraph: the rule, what was asked, what is reachable, what to do."""
        if not self.conflict:
            return "The limits can be kept: at least one architecture fits."
        asked = " and ".join(str(limit) for limit in self.conflict)
        text = [f"No architecture of the space keeps {asked}" + (" together." if len(self.conflict) > 1 else ".")]
        reaches = [reach for reach in self.reaches if reach.limit in self.conflict]
        text += [_describe(reach, several=len(self.conflict) > 1) for reach in reaches]
        advice = "Relax one of these limits" if len(self.conflict) > 1 else "Relax this limit"
        return " ".join([*text, f"{advice} or give the space other candidates."])


def explain_infeasible(problem: SearchProblem, limits: Sequence[Limit]) -> Infeasibility:
    """What each limit could reach, and which limits exclude each other; all numbers exact.

    Raises `UsageError` for limits on unknown costs.
    """
    sides = one_sided(limits)
    reaches = tuple(
        Reach(
            limit=side,
            alone=_require(_extreme(problem, side, ())),
            given_others=_extreme(problem, side, sides[:i] + sides[i + 1 :]),
        )
        for i, side in enumerate(sides)
    )
    return Infeasibility(reaches=reaches, conflict=_conflict(problem, reaches))


def _extreme(problem: SearchProblem, side: Limit, others: Sequence[Limit]) -> Number | None:
    """The smallest (largest for a min) value of the limit's cost within the other limits."""
    measure = measure_of(side)
    found = search_ranges(build_chain(problem, others, goal=measure))
    return from_grid(problem, measure, found.values[0, 0]) if len(found) else None


def _require(value: Number | None) -> Number:
    assert value is not None, "without limits there is always an architecture"
    return value


def _conflict(problem: SearchProblem, reaches: Sequence[Reach]) -> tuple[Limit, ...]:
    """Leave out limits one after the other as long as the rest still excludes everything."""
    if any(r.given_others is not None and r.limit.allows(r.given_others) for r in reaches) or not reaches:
        return ()
    for reach in reaches:
        if not reach.reachable_alone:
            return (reach.limit,)
    kept = [reach.limit for reach in reaches]
    for limit in tuple(kept):
        rest = [other for other in kept if other is not limit]
        if len(rest) > 1 and not _feasible(problem, rest):
            kept = rest
    return tuple(kept)


def _feasible(problem: SearchProblem, sides: Sequence[Limit]) -> bool:
    best = _extreme(problem, sides[0], sides[1:])
    return best is not None and sides[0].allows(best)


def _describe(reach: Reach, *, several: bool) -> str:
    """One sentence: how far this limit can be met."""
    word = "smallest" if reach.limit.max is not None else "largest"
    cost = reach.limit.cost
    text = f"The {word} reachable {cost} is {_number(reach.alone)}"
    if several and reach.given_others is not None:
        text += f", and {_number(reach.given_others)} within the other limits"
    return text + "."


def _number(value: Number) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
