"""The candidates still in question as a trellis: flat lists of arcs between states, and what is to be paid after each.

A state is the width that a block emits; an arc is one candidate taken in one state. Values are float64 that hold
integers (see `chain`), so every sum of them is exact; only sums weighted with multipliers are rounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from distilnas.solve.chain import Chain
from distilnas.solve.dominance import undominated


@dataclass(frozen=True, kw_only=True, eq=False)
class Arcs:
    """The arcs of one block, sorted by (tail, number); all arrays are (a,), ``values`` is (1 + m, a)."""

    tail: np.ndarray  # state before
    head: np.ndarray  # state after
    number: np.ndarray  # the candidate's number in its block
    values: np.ndarray  # row 0 the goal, then the loads

    def take(self, index: np.ndarray) -> "Arcs":
        return Arcs(
            tail=self.tail[index], head=self.head[index], number=self.number[index], values=self.values[:, index]
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Trellis:
    """All arcs of a chain that are still in question; a path through it is an architecture."""

    blocks: tuple[Arcs, ...]
    states: tuple[int, ...]
    limits: np.ndarray  # (m,)

    @property
    def rows(self) -> int:
        """1 + m: the goal and the loads."""
        return 1 + len(self.limits)

    @property
    def size(self) -> int:
        return sum(len(arcs.tail) for arcs in self.blocks)

    def take(self, indices: Sequence[np.ndarray]) -> "Trellis":
        """Only the arcs ``indices[i]`` (or boolean masks) of each block."""
        return replace(self, blocks=tuple(a.take(i) for a, i in zip(self.blocks, indices, strict=True)))

    def ceiling(self) -> float:
        """A goal that no path exceeds; -inf when some block has no arcs."""
        if any(not len(arcs.tail) for arcs in self.blocks):
            return -np.inf
        return sum(float(arcs.values[0].max()) for arcs in self.blocks)

    def tolerance(self, weights: np.ndarray) -> float:
        """More than rounding can change in any sum weighted with ``weights`` (1 + m,)."""
        largest = np.append(0.0, np.abs(self.limits))
        for arcs in self.blocks:
            if arcs.values.shape[1]:
                largest = largest + np.maximum(arcs.values.max(axis=1), -arcs.values.min(axis=1)).clip(0)
        return float(np.abs(weights) @ largest) * 1e-13


def gather(chain: Chain, picks: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]]) -> Trellis:
    """The trellis of the arcs ``picks[block][cell] = (states, candidates)``."""
    blocks = []
    for i, (cells, cell_picks) in enumerate(zip(chain.blocks, picks, strict=True)):
        tail = np.concatenate([states for states, _ in cell_picks])
        number = np.concatenate([c.first + j for c, (_, j) in zip(cells, cell_picks, strict=True)])
        head = np.concatenate([np.full(len(j), c.head) for c, (_, j) in zip(cells, cell_picks, strict=True)])
        values = np.concatenate([_values(c.values, *p) for c, p in zip(cells, cell_picks, strict=True)], axis=1)
        order = np.lexsort((number, tail))
        assert tail.size == 0 or tail.max() < chain.states[i]
        blocks.append(Arcs(tail=tail, head=head, number=number, values=values).take(order))
    return Trellis(blocks=tuple(blocks), states=chain.states, limits=chain.limits)


def drop_dominated(trellis: Trellis, k: int) -> Trellis:
    """Without the arcs that k or more arcs between the same two states dominate."""
    return trellis.take([_undominated_arcs(arcs, k) for arcs in trellis.blocks])


def price(trellis: Trellis, weights: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Arcs' weighted values, and the cheapest weighted completion from each state.

    Returns ``priced[i]`` (arcs of block i,) and ``ahead[i]`` (states before block i,), ``ahead[-1]`` after the last.
    """
    ahead = [np.zeros(trellis.states[-1])]
    priced = [weights @ arcs.values for arcs in trellis.blocks]
    for i in range(len(trellis.blocks) - 1, -1, -1):
        arcs = trellis.blocks[i]
        best = np.full(trellis.states[i], np.inf)
        np.minimum.at(best, arcs.tail, priced[i] + ahead[0][arcs.head])
        ahead.insert(0, best)
    return priced, ahead


def through(trellis: Trellis, priced: Sequence[np.ndarray], ahead: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each arc the weighted value of the cheapest path that uses it."""
    behind, totals = np.zeros(1), []
    for i, arcs in enumerate(trellis.blocks):
        before = behind[arcs.tail] + priced[i]
        totals.append(before + ahead[i + 1][arcs.head])
        behind = np.full(trellis.states[i + 1], np.inf)
        np.minimum.at(behind, arcs.head, before)
    return totals


def cheapest_path(trellis: Trellis, priced: Sequence[np.ndarray], ahead: Sequence[np.ndarray]) -> np.ndarray:
    """Values (1 + m,) of a path with the smallest weighted value; there must be one."""
    state, total = 0, np.zeros(trellis.rows)
    for i, arcs in enumerate(trellis.blocks):
        start, stop = np.searchsorted(arcs.tail, (state, state + 1))
        best = start + int(np.argmin(priced[i][start:stop] + ahead[i + 1][arcs.head[start:stop]]))
        total += arcs.values[:, best]
        state = int(arcs.head[best])
    return total


def _values(tables: Sequence[np.ndarray], states: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    rows = [t[0, candidates] if len(t) == 1 else t[states, candidates] for t in tables]
    return np.array(rows, dtype=np.float64)


def _undominated_arcs(arcs: Arcs, k: int) -> np.ndarray:
    keep = []
    pairs = arcs.tail * (int(arcs.head.max(initial=0)) + 1) + arcs.head
    order = np.argsort(pairs, kind="stable")
    edges = np.flatnonzero(np.diff(pairs[order], prepend=-1, append=np.iinfo(np.int64).max))
    for start, stop in pairwise(edges):
        group = order[start:stop]
        keep.append(group[undominated(arcs.values[:, group], arcs.number[group], k)])
    return np.sort(np.concatenate(keep)) if keep else np.empty(0, dtype=np.int64)
