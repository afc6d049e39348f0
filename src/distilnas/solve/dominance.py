"""Which points of a set can belong to the k best of anything built from them."""

import numpy as np

_CHUNK = 256
_PIVOTS = 24


def undominated(values: np.ndarray, rank: np.ndarray, k: int) -> np.ndarray:
    """Indices (ascending) of the points that fewer than ``k`` others dominate.

    ``values`` is (d, n), ``rank`` (n,) distinct integers. a dominates b when no value of a is larger and, if all
    are equal, a's rank is smaller. So whatever is added to both, a comes before b in the order (values, rank).
    """
    n = values.shape[1]
    if n <= k:
        return np.arange(n)
    alive = np.arange(n)
    if n > 8 * _CHUNK:
        alive = _thin(values, rank, k)
    order = alive[np.lexsort((rank[alive], *values[::-1, alive]))]
    if len(values) == 1:
        kept = order[:k]
    elif len(values) == 2 and k == 1:
        second = values[1, order]
        before = np.concatenate(([np.inf], np.minimum.accumulate(second)[:-1]))
        kept = order[second < before]
    else:
        kept = order[_sweep(values[1:, order], k)]
    return np.sort(kept)


def _thin(values: np.ndarray, rank: np.ndarray, k: int) -> np.ndarray:
    """Drop most dominated points quickly: compare all with a few points that are small in every value."""
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    scaled = ((values - low) / np.maximum(high - low, 1)).astype(np.float32)
    alive = np.arange(values.shape[1])
    beaten = np.zeros(len(alive), dtype=np.int32)
    mixes = np.random.default_rng(0).dirichlet(np.ones(len(values)), size=_PIVOTS).astype(np.float32)
    used = set()
    for mix in mixes:
        pivot = int(alive[np.argmin(mix @ scaled[:, alive])])
        if pivot in used:
            continue
        used.add(pivot)
        worse = (values[:, alive] >= values[:, pivot, None]).all(axis=0)
        ties = (values[:, alive] == values[:, pivot, None]).all(axis=0)
        beaten += worse & ~(ties & (rank[alive] <= rank[pivot]))
        alive, beaten = alive[beaten < k], beaten[beaten < k]
    return alive


def _sweep(rest: np.ndarray, k: int) -> np.ndarray:
    """Positions kept of points sorted by (values, rank); ``rest`` holds all values but the first: (d - 1, n).

    A dominator always comes earlier, and a point with k dominators has k that are kept, so comparing with the kept
    ones is enough; within a chunk all earlier points are compared.
    """
    n, kept = rest.shape[1], np.empty(0, dtype=np.int64)
    for start in range(0, n, _CHUNK):
        chunk = np.arange(start, min(n, start + _CHUNK))
        count = _count_below(rest[:, kept], rest[:, chunk])
        inside = np.ones((len(chunk), len(chunk)), dtype=bool)
        for row in rest[:, chunk]:
            inside &= row[None, :] <= row[:, None]
        count += np.tril(inside, -1).sum(axis=1)
        kept = np.concatenate([kept, chunk[count < k]])
    return kept


def _count_below(kept: np.ndarray, chunk: np.ndarray) -> np.ndarray:
    """How many of ``kept`` (d, a) have no value above each of ``chunk`` (d, b): (b,)."""
    below = np.ones((chunk.shape[1], kept.shape[1]), dtype=bool)
    for a, b in zip(kept, chunk, strict=True):
        below &= a[None, :] <= b[:, None]
    return below.sum(axis=1)
