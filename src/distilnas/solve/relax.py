"""Two-sided limits by relaxation: where one end of a range does not bind, the problem without it is far easier.

Between opposed loads (a cost and its negation) no candidate dominates another, so a range is slow to search directly.
The k best paths without one end are found fast; if enough of them keep that end too, they are the k best of the whole
problem.
"""

import time

import numpy as np

from distilnas.solve.chain import Chain
from distilnas.solve.search import Found, search_chain

_SPARE = 16  # paths asked for beyond k, to make up for those that miss the relaxed end
_TRIES = 3  # lists of growing length


def search_ranges(chain: Chain, k: int = 1, deadline: float | None = None) -> Found:
    """`search_chain`, with every range tried without one of its ends first; the same answer in the same order."""
    for row in (end for pair in _opposed(chain) for end in pair):
        found = _relaxed(chain, row, k, deadline)
        if found is not None:
            return found
    return search_chain(chain, k, deadline)


def _relaxed(chain: Chain, row: int, k: int, deadline: float | None) -> Found | None:
    """The ``k`` best paths found without load ``row``, or None when the list does not prove them to be that."""
    looser = chain.without_row(row)
    wanted = k + _SPARE
    for _ in range(_TRIES):
        if deadline is not None and time.perf_counter() > deadline:
            return None
        found = search_ranges(looser, wanted, deadline)
        if not found.proved:
            return None
        whole = len(found) < wanted
        answer = _keeping(chain, found, k, whole)
        if answer is not None or whole:
            return answer
        wanted *= 4
    return None


def _keeping(chain: Chain, found: Found, k: int, whole: bool) -> Found | None:
    """The first ``k`` of the paths that keep all limits, where the list is sure to hold all as good as the k-th.

    It is when it ended because there are no more paths (``whole``), or when its last path is worse.
    """
    values = np.array([chain.sums(numbers) for numbers in found.numbers]).reshape(len(found), chain.rows)
    kept = np.flatnonzero((values[:, 1:] <= chain.limits).all(axis=1))
    order = kept[np.lexsort((*found.numbers[kept].T[::-1], *values[kept].T[::-1]))][:k]
    if not whole and (len(order) < k or values[order[-1], 0] >= values[-1, 0]):
        return None
    return Found(values=values[order], numbers=found.numbers[order], proved=True, bound=np.inf)


def _opposed(chain: Chain) -> list[tuple[int, int]]:
    """Pairs of loads (rows from 1) of which one is the negation of the other."""
    rows = range(1, chain.rows)
    cells = [cell for block in chain.blocks for cell in block]

    def negated(i: int, j: int) -> bool:
        return all(np.array_equal(cell.values[i], -cell.values[j]) for cell in cells)

    return [(i, j) for i in rows for j in rows if i < j and negated(i, j)]
