"""The exact Pareto front of rating against one cost.

The range between the two ends is cut in slices. In a slice everything of interest rates below its left end and costs
less than its right end, which together with the slope between the ends bounds a weighted sum: few candidates pass, and
when few enough do, all their paths are listed; otherwise the best path up to the middle cost cuts the slice in two.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from distilnas.errors import InfeasibleError
from distilnas.solve.chain import build_chain
from distilnas.solve.dual import Planes, best_prices
from distilnas.solve.exact import solutions_of
from distilnas.solve.infeasible import explain_infeasible
from distilnas.solve.labels import enumerate_paths, guard_of, within
from distilnas.solve.problem import Limit, SearchProblem, Solution
from distilnas.solve.reduce import everything
from distilnas.solve.search import Found, search_trellis
from distilnas.solve.trellis import Trellis, drop_dominated

_FEW = 600  # arcs of a slice whose paths are listed without cutting it further


def pareto_front(problem: SearchProblem, cost: str = "macs", limits: Sequence[Limit] = ()) -> list[Solution]:
    """All architectures within ``limits`` for which no other one has a lower rating at no more cost, or a lower cost
    at no higher rating; cheapest first, so ratings fall along the list. Exact.

    Of architectures with equal rating and cost one is listed, chosen as `solve` orders them. Raises `InfeasibleError`
    when nothing keeps the limits and `UsageError` for unknown costs.
    """
    start = time.perf_counter()
    problem.check_cost(cost)
    everywhere = Limit(cost=cost, max=2 * problem.magnitude(cost) + 1)
    chain = build_chain(problem, [everywhere, *limits])
    trellis = drop_dominated(everything(chain, k=1), k=1)
    right = search_trellis(trellis)
    if not len(right):
        raise InfeasibleError(explain_infeasible(problem, limits).message())
    left = _swapped(search_trellis(_cost_first(trellis)))
    points = _Points(planes=Planes(), found=[left, right])
    slices = [_Slice(trellis=trellis, cheap=_corner(left), good=_corner(right))]
    while slices:
        slices.extend(_work_off(slices.pop(), points))
    return solutions_of(problem, _nondominated(points.found), start)


@dataclass(frozen=True, kw_only=True)
class _Corner:
    cost: float
    rating: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Slice:
    """What costs more than ``cheap`` and less than ``good``, and rates between them; ``trellis`` has all its arcs."""

    trellis: Trellis
    cheap: _Corner
    good: _Corner


@dataclass(kw_only=True, eq=False)
class _Points:
    planes: Planes
    found: list[Found] = field(default_factory=list)


def _work_off(piece: _Slice, points: _Points) -> list[_Slice]:
    """List the slice's paths, or cut it and return the parts."""
    cheap, good = piece.cheap, piece.good
    if good.cost - cheap.cost <= 1 or cheap.rating - good.rating <= 1:  # integers: nothing lies between
        return []
    trellis = _with_cost_limit(piece.trellis, good.cost - 1)
    weights = _weights(trellis, (cheap.rating - good.rating) / (good.cost - cheap.cost))
    guard = guard_of(trellis, weights, cheap.rating - 1, cheap.rating - 1)
    trellis = within(trellis, guard)
    if not trellis.size:
        return []
    if trellis.size <= _FEW:
        labels = enumerate_paths(trellis, guard, k=1)
        points.found.append(Found(values=labels.values.T, numbers=labels.numbers, proved=True, bound=np.inf))
        return []
    middle = (cheap.cost + good.cost) // 2
    best = search_trellis(_with_cost_limit(trellis, middle), cutoff=cheap.rating - 1, planes=points.planes)
    if not len(best):
        return [_Slice(trellis=trellis, cheap=replace(cheap, cost=middle), good=good)]
    points.found.append(best)
    corner = _corner(best)
    return [
        _Slice(trellis=trellis, cheap=cheap, good=corner),
        _Slice(trellis=trellis, cheap=replace(corner, cost=middle), good=good),
    ]


def _weights(trellis: Trellis, slope: float) -> np.ndarray:
    """The slope as price of the cost, with the best prices for the other loads beside it."""
    if len(trellis.limits) == 1 or any(not len(arcs.tail) for arcs in trellis.blocks):
        return np.concatenate([[1.0, slope], np.zeros(len(trellis.limits) - 1)])
    mix = np.delete(np.eye(trellis.rows), 1, axis=0)
    mix[0, 1] = slope
    blocks = tuple(replace(arcs, values=mix @ arcs.values) for arcs in trellis.blocks)
    mixed = replace(trellis, blocks=blocks, limits=trellis.limits[1:])
    return np.concatenate([[1.0, slope], best_prices(mixed).multipliers])


def _with_cost_limit(trellis: Trellis, limit: float) -> Trellis:
    return replace(trellis, limits=np.append(limit, trellis.limits[1:]))


def _cost_first(trellis: Trellis) -> Trellis:
    """The trellis with goal and cost exchanged, the rating unlimited."""
    order = np.arange(trellis.rows)
    order[:2] = 1, 0
    blocks = tuple(replace(arcs, values=arcs.values[order]) for arcs in trellis.blocks)
    limits = np.append(trellis.ceiling(), trellis.limits[1:])
    return replace(trellis, blocks=blocks, limits=limits)


def _swapped(found: Found) -> Found:
    values = found.values.copy()
    values[:, :2] = found.values[:, 1::-1]
    return replace(found, values=values)


def _corner(found: Found) -> _Corner:
    return _Corner(rating=float(found.values[0, 0]), cost=float(found.values[0, 1]))


def _nondominated(parts: Sequence[Found]) -> Found:
    """The front of all paths found, cheapest first."""
    values = np.concatenate([part.values for part in parts])
    numbers = np.concatenate([part.numbers for part in parts])
    order = np.lexsort((*numbers.T[::-1], *values.T[:1:-1], values[:, 0], values[:, 1]))  # cost, rating, loads, numbers
    ratings = values[order, 0]
    best_before = np.concatenate(([np.inf], np.minimum.accumulate(ratings)[:-1]))
    front = order[ratings < best_before]
    return Found(values=values[front], numbers=numbers[front], proved=True, bound=np.inf)
