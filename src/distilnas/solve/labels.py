"""All partial paths that can still lead to one of the k best, block by block, pruned by bounds and dominance."""

import time
from dataclasses import dataclass

import numpy as np

from distilnas.solve.dominance import undominated
from distilnas.solve.trellis import Arcs, Trellis, price, through

_CHUNK_PAIRS = 2_000_000


class OutOfTimeError(Exception):
    """The deadline passed; what was found before it stays valid."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """Paths up to some block: ``values`` (1 + m, l), ``state`` (l,), ``rank`` (l,) in lexicographic order of
    ``numbers`` (l, blocks so far), the candidates taken."""

    values: np.ndarray
    state: np.ndarray
    rank: np.ndarray
    numbers: np.ndarray

    def take(self, index: np.ndarray) -> "Labels":
        return Labels(
            values=self.values[:, index],
            state=self.state[index],
            rank=self.rank[index],
            numbers=self.numbers[index],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Guard:
    """What a path may not exceed: the goal, each load, and the weighted sum of all of them."""

    weights: np.ndarray  # (1 + m,)
    weighted: float
    ends: np.ndarray  # (1 + m,) largest goal and loads


def guard_of(trellis: Trellis, weights: np.ndarray, window: float, cutoff: float) -> Guard:
    """The guard that every path with a goal up to ``window`` within the trellis's limits passes, and none with a goal
    above ``cutoff`` or outside the limits."""
    weighted = window + float(weights[1:] @ trellis.limits) + trellis.tolerance(weights)
    return Guard(weights=weights, weighted=weighted, ends=np.append(cutoff, trellis.limits))


def within(trellis: Trellis, guard: Guard) -> Trellis:
    """Only the arcs on paths that pass the guard's weighted bound (and each single bound); loses no such path."""
    for weights, end in [(guard.weights, guard.weighted), *zip(np.eye(len(guard.ends)), guard.ends, strict=True)]:
        totals = through(trellis, *price(trellis, weights))
        trellis = trellis.take([total <= end for total in totals])
    return trellis


def enumerate_paths(trellis: Trellis, guard: Guard, k: int, deadline: float | None = None) -> Labels:
    """Complete paths that pass the guard, of each final state those that fewer than ``k`` dominate.

    So the k best paths in the order (goal, loads, numbers) that pass the guard are among them. Raises
    `OutOfTimeError` when ``time.perf_counter()`` passes ``deadline``.
    """
    priced, ahead = price(trellis, guard.weights)
    ends_ahead = [price(trellis, row)[1] for row in np.eye(len(guard.ends))]
    labels = Labels(
        values=np.zeros((len(guard.ends), 1)),
        state=np.zeros(1, dtype=np.int64),
        rank=np.zeros(1, dtype=np.int64),
        numbers=np.zeros((1, 0), dtype=np.int64),
    )
    for i, arcs in enumerate(trellis.blocks):
        rests = np.array([row[i + 1] for row in ends_ahead])
        labels = _extend(labels, arcs, priced[i] + ahead[i + 1][arcs.head], rests, guard, k, deadline)
    return labels


def _extend(
    labels: Labels, arcs: Arcs, onward: np.ndarray, rests: np.ndarray, guard: Guard, k: int, deadline: float | None
) -> Labels:
    """``onward`` (a,) is the weighted value of each arc with its completion, ``rests`` (1 + m, states) the least
    that remains of each value after it."""
    parents, taken = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    room = guard.weighted - guard.weights @ labels.values
    for state in np.unique(labels.state):
        start, stop = np.searchsorted(arcs.tail, (state, state + 1))
        cheap_first = start + np.argsort(onward[start:stop], kind="stable")
        members = np.flatnonzero(labels.state == state)
        counts = np.searchsorted(onward[cheap_first], room[members], side="right")
        for few in _chunks(counts):
            if deadline is not None and time.perf_counter() > deadline:
                raise OutOfTimeError
            parent = np.repeat(members[few], counts[few])
            within_label = np.arange(len(parent)) - np.repeat(np.cumsum(counts[few]) - counts[few], counts[few])
            arc = cheap_first[within_label]
            total = labels.values[:, parent] + arcs.values[:, arc] + rests[:, arcs.head[arc]]
            fits = (total <= guard.ends[:, None]).all(axis=0)
            parents.append(parent[fits])
            taken.append(arc[fits])
    return _best_per_state(_join(labels, arcs, np.concatenate(parents), np.concatenate(taken)), k)


def _chunks(counts: np.ndarray) -> list[slice]:
    """Slices of ``counts`` with sums of about the chunk size (single entries may be larger)."""
    if not counts.size:
        return []
    lots = np.cumsum(counts) // _CHUNK_PAIRS
    starts = np.flatnonzero(np.diff(lots, prepend=-1))
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(counts)], strict=True)]


def _join(labels: Labels, arcs: Arcs, parent: np.ndarray, arc: np.ndarray) -> Labels:
    numbers = arcs.number[arc]
    order = np.lexsort((numbers, labels.rank[parent]))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return Labels(
        values=labels.values[:, parent] + arcs.values[:, arc],
        state=arcs.head[arc],
        rank=rank,
        numbers=np.column_stack([labels.numbers[parent], numbers]),
    )


def _best_per_state(labels: Labels, k: int) -> Labels:
    keep = [np.empty(0, dtype=np.int64)]
    for state in np.unique(labels.state):
        members = np.flatnonzero(labels.state == state)
        keep.append(members[undominated(labels.values[:, members], labels.rank[members], k)])
    return labels.take(np.concatenate(keep))
