"""The k best paths of a chain, exactly.

A window of goals just above the Lagrangian bound is searched completely; if it holds k paths, they are the answer,
otherwise it is widened. A large chain is first reduced: prices found on a sample of candidates are applied to all of
them once, the cheapest form a core, the core's k best paths give a cutoff, and all candidates that cannot be on a path
below the cutoff are gone for good.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np

from distilnas.solve.chain import Chain
from distilnas.solve.dual import Planes, Prices, best_prices
from distilnas.solve.labels import Labels, OutOfTimeError, enumerate_paths, guard_of, within
from distilnas.solve.reduce import everything, price_out, reduce_to
from distilnas.solve.trellis import Trellis, drop_dominated, price, through

_log = logging.getLogger(__name__)
_SMALL = 20_000  # arcs that need no reduction
_CROWDED = 50_000  # arcs from which dominance between them pays
_FIRST_WINDOW = 32  # arcs per block in the first window
_GROWTH = 1.5  # of the window; the number of paths in it grows with about the sixth power


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """The best paths in order (goal, loads, numbers): ``values`` (n, 1 + m), ``numbers`` (n, blocks).

    When ``proved``, these are all paths there are, or the k best; otherwise time ran out, and a path that is not
    among those with a goal up to ``bound`` has a goal of at least ``bound``.
    """

    values: np.ndarray
    numbers: np.ndarray
    proved: bool
    bound: float

    def __len__(self) -> int:
        return len(self.numbers)


def search_chain(chain: Chain, k: int = 1, deadline: float | None = None) -> Found:
    """The ``k`` best paths of a chain within its limits, fewer when there are fewer.

    Ties in the goal are broken by the loads in order, then by the lexicographically smallest candidate numbers. At
    ``deadline`` (of ``time.perf_counter()``) the search ends with what it has.
    """
    if sum(c.values[0].shape[1] * n for b, n in zip(chain.blocks, chain.states, strict=False) for c in b) <= _SMALL:
        return search_trellis(everything(chain), k, deadline=deadline)
    core, offers = price_out(chain)
    if offers is None:
        return _found(core, None, k)
    first = search_trellis(core, k, deadline=deadline)
    if not first.proved:
        return replace(first, bound=min(first.bound, offers.bound))
    cutoff = float(first.values[k - 1, 0]) if len(first) >= k else np.inf
    full = reduce_to(chain, offers, cutoff, k, slack=core.tolerance(offers.weights))
    _log.debug("core of %d arcs, then %d arcs up to the cutoff", core.size, full.size)
    last = search_trellis(full, k, cutoff=cutoff, deadline=deadline)
    return last if last.proved else replace(first, proved=False, bound=last.bound)


def search_trellis(
    trellis: Trellis, k: int = 1, *, cutoff: float = np.inf, planes: Planes | None = None, deadline: float | None = None
) -> Found:
    """The k best paths of a trellis among those with goals up to ``cutoff``; see `search_chain`."""
    cutoff = min(cutoff, trellis.ceiling())
    if np.isneginf(cutoff) or np.isinf(price(trellis, np.eye(trellis.rows)[0])[1][0][0]):
        return _found(trellis, None, k)
    prices = best_prices(trellis, planes, enough=cutoff + 1)
    trellis = within(trellis, guard_of(trellis, prices.weights, cutoff, cutoff))
    if any(not len(arcs.tail) for arcs in trellis.blocks):
        return _found(trellis, None, k)
    if trellis.size > _CROWDED:
        trellis = drop_dominated(trellis, k)
    searched, width, labels = prices.bound, _first_width(trellis, prices), None
    window = prices.bound + width
    while True:
        window = min(cutoff, window)
        guard = guard_of(trellis, prices.weights, window, cutoff)
        try:
            labels = enumerate_paths(within(trellis, guard), guard, k, deadline)
        except OutOfTimeError:
            return replace(_found(trellis, labels, k), proved=False, bound=searched)
        found = _found(trellis, labels, k)
        if len(found) >= k:
            cutoff = float(found.values[k - 1, 0])
        if window >= cutoff:
            return found
        searched, width = window, _GROWTH * width
        window = cutoff if len(found) >= k else prices.bound + width


def _first_width(trellis: Trellis, prices: Prices) -> float:
    """How far above the bound the first window reaches: about `_FIRST_WINDOW` arcs in a block."""
    totals = through(trellis, *price(trellis, prices.weights))
    places = [min(_FIRST_WINDOW, len(total) - 1) for total in totals]
    marks = [float(np.partition(total, place)[place]) for total, place in zip(totals, places, strict=True)]
    return max(1.0, float(np.median(marks)) - prices.bound - float(prices.multipliers @ trellis.limits))


def _found(trellis: Trellis, labels: Labels | None, k: int) -> Found:
    """The first ``k`` labels in order, as proved."""
    if labels is None:
        values = np.empty((0, trellis.rows))
        numbers = np.empty((0, len(trellis.blocks)), dtype=np.int64)
        return Found(values=values, numbers=numbers, proved=True, bound=np.inf)
    order = np.lexsort((labels.rank, *labels.values[::-1]))[:k]
    return Found(values=labels.values[:, order].T, numbers=labels.numbers[order], proved=True, bound=np.inf)
