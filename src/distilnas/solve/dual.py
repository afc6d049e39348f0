"""Lagrangian bound: prices for the limited loads that make the cheapest path as dear as possible.

For multipliers u >= 0 the cheapest path by goal + u . (loads - limits) costs no more than the best path that keeps
the limits. The best multipliers are found with Kelley's cutting planes: every path seen is a plane over u, the linear
program over the planes seen proposes the next u. Whatever u comes out, its bound is valid.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linprog

from distilnas.solve.trellis import Trellis, cheapest_path, price

_MAX_STEPS = 80
_CLOSE = 1e-6
_FIRST_BOX, _LAST_BOX = 16.0, 1e8


@dataclass(kw_only=True, eq=False)
class Planes:
    """The values (1 + m,) of paths seen so far; may be shared between trellises that differ in arcs and limits."""

    paths: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prices:
    """Multipliers (m,) and the lower bound on the goal that they prove for the trellis they were found on."""

    multipliers: np.ndarray
    bound: float

    @property
    def weights(self) -> np.ndarray:
        return np.append(1.0, self.multipliers)


def best_prices(trellis: Trellis, planes: Planes | None = None, enough: float = np.inf) -> Prices:
    """The multipliers with the largest bound (to 1e-6 of the goal's range), or the first with one above ``enough``.

    The trellis must have a path. A bound above every goal proves that no path keeps the limits.
    """
    planes = planes or Planes()
    m = len(trellis.limits)
    best = _evaluate(trellis, np.zeros(m), planes)
    if m == 0:
        return best
    scale = _spread(trellis)
    box = _FIRST_BOX
    for _ in range(_MAX_STEPS):
        if best.bound > enough:
            break
        point, promised = _propose(planes, trellis.limits, scale, box)
        at_box = point.max() >= box * (1 - 1e-9)
        if promised * scale[0] - best.bound <= _CLOSE * scale[0]:
            if not at_box or box >= _LAST_BOX:
                break
            box *= 16
            continue
        found = _evaluate(trellis, point * scale[0] / scale[1:], planes)
        best = max(best, found, key=lambda prices: prices.bound)
    return best


def _evaluate(trellis: Trellis, multipliers: np.ndarray, planes: Planes) -> Prices:
    weights = np.append(1.0, multipliers)
    priced, ahead = price(trellis, weights)
    assert np.isfinite(ahead[0][0]), "the trellis has no path"
    planes.paths.append(cheapest_path(trellis, priced, ahead))
    return Prices(multipliers=multipliers, bound=float(ahead[0][0] - multipliers @ trellis.limits))


def _spread(trellis: Trellis) -> np.ndarray:
    """(1 + m,) by how much the goal and the loads of paths may differ; at least 1."""
    ranges = [arcs.values.max(axis=1) - arcs.values.min(axis=1) for arcs in trellis.blocks]
    return np.maximum(1.0, np.sum(ranges, axis=0))


def _propose(planes: Planes, limits: np.ndarray, scale: np.ndarray, box: float) -> tuple[np.ndarray, float]:
    """The scaled multipliers (m,) that maximise the lowest plane, and that height (in units of the goal's spread)."""
    paths = np.array(planes.paths)
    slopes = (paths[:, 1:] - limits) / scale[1:]
    lp = linprog(
        c=np.append(np.zeros(len(limits)), -1.0),
        A_ub=np.column_stack([-slopes, np.ones(len(paths))]),
        b_ub=paths[:, 0] / scale[0],
        bounds=[*[(0.0, box)] * len(limits), (None, None)],
        method="highs",
    )
    if lp.x is None:  # numerically stuck: stay where we are, every bound found so far is valid
        return np.zeros(len(limits)), -np.inf
    return np.clip(lp.x[:-1], 0.0, box), float(lp.x[-1])
