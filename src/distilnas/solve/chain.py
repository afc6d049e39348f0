"""A search problem brought to one exact form: minimise a sum of integers while sums of integers stay below limits.

Every quantity is an integer on a grid: integer costs are taken as they are, floats (ratings, latencies) are rounded
to the multiple of a power of two that is 2**-50 of the largest possible sum, which is as fine as adding them in
float64 would be. All sums then stay below 2**53, where float64 calculates exactly and in any order, so comparisons,
dominance and ties have one meaning everywhere. A lower limit is an upper limit on the negated cost.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from distilnas.solve.problem import FLOAT_SLACK, BlockCandidates, Limit, Position, SearchProblem

_GRID_BITS = 50


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Something that an architecture has a sum of: its rating (``cost=None``) or ``sign`` times a cost."""

    cost: str | None = None
    sign: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class ChainCell:
    """``values[0]`` is the goal, ``values[1:]`` are the loads: (n_in or 1, n_c) integers each.

    ``head`` is the state after the cell: the row of the next block's tables. ``first`` is the number of the cell's
    first candidate among all candidates of the block.
    """

    head: int
    first: int
    values: tuple[np.ndarray, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """The integer problem; ``states[i]`` is the number of states before block i."""

    blocks: tuple[tuple[ChainCell, ...], ...]
    states: tuple[int, ...]
    limits: np.ndarray  # (m,) float64, upper, integer values

    @property
    def rows(self) -> int:
        """1 + m: the goal and the loads."""
        return 1 + len(self.limits)

    def with_row(self, indicators: Sequence[np.ndarray], limit: int) -> "Chain":
        """One more load: ``indicators[i]`` (n_candidates of block i,) does not depend on the incoming width."""
        blocks = tuple(
            tuple(replace(c, values=(*c.values, row[None, c.first : c.first + c.values[0].shape[1]])) for c in block)
            for block, row in zip(self.blocks, indicators, strict=True)
        )
        return replace(self, blocks=blocks, limits=np.append(self.limits, float(limit)))

    def without_row(self, row: int) -> "Chain":
        """The chain without load ``row`` (from 1) and its limit."""
        blocks = tuple(
            tuple(replace(c, values=(*c.values[:row], *c.values[row + 1 :])) for c in block) for block in self.blocks
        )
        return replace(self, blocks=blocks, limits=np.delete(self.limits, row - 1))

    def sums(self, numbers: Sequence[int]) -> np.ndarray:
        """(1 + m,) goal and loads of the path that takes candidate ``numbers[i]`` of block i."""
        total, state = np.zeros(self.rows), 0
        for block, number in zip(self.blocks, numbers, strict=True):
            cell = next(c for c in reversed(block) if c.first <= number)
            total += [table[min(state, len(table) - 1), number - cell.first] for table in cell.values]
            state = cell.head
        return total


def one_sided(limits: Sequence[Limit]) -> list[Limit]:
    """The limits with ranges split in an upper and a lower one."""
    highs = [Limit(cost=limit.cost, max=limit.max) for limit in limits if limit.max is not None]
    return highs + [Limit(cost=limit.cost, min=limit.min) for limit in limits if limit.min is not None]


def measure_of(limit: Limit) -> Measure:
    """What a one-sided limit keeps small."""
    return Measure(cost=limit.cost, sign=1 if limit.max is not None else -1)


def build_chain(problem: SearchProblem, limits: Sequence[Limit], goal: Measure | None = None) -> Chain:
    """The chain that minimises ``goal`` (the rating unless given) under ``limits``; rows: `one_sided` limits in order.

    Raises `UsageError` for a limit on an unknown cost.
    """
    for limit in limits:
        problem.check_cost(limit.cost)
    sides = one_sided(limits)
    measures = [goal or Measure(), *map(measure_of, sides)]
    exponents = [_grid_exponent(problem, m) for m in measures]
    out_states = [{w: s for s, w in enumerate(b.in_widths)} for b in problem.blocks[1:]]
    last_widths = problem.blocks[-1].out_widths
    out_states.append({w: s for s, w in enumerate(last_widths)})
    blocks = tuple(_block(b, heads, measures, exponents) for b, heads in zip(problem.blocks, out_states, strict=True))
    bounds = [_limit_on_grid(side, e) for side, e in zip(sides, exponents[1:], strict=True)]
    chain = Chain(
        blocks=blocks,
        states=(*(len(b.in_widths) for b in problem.blocks), len(last_widths)),
        limits=np.array(bounds, dtype=np.float64),
    )
    return _clip_limits(chain)


def positions_of(problem: SearchProblem, numbers: Sequence[int]) -> tuple[Position, ...]:
    """The positions behind one candidate number per block (numbers run over the block's cells in order)."""
    positions = []
    for block, number in zip(problem.blocks, numbers, strict=True):
        ends = np.cumsum([len(cell) for cell in block.cells])
        cell = int(np.searchsorted(ends, number, side="right"))
        positions.append(Position(cell, int(number - (ends[cell] - len(block.cells[cell])))))
    return tuple(positions)


def from_grid(problem: SearchProblem, measure: Measure, value: float) -> float:
    """The value of ``measure`` that stands at ``value`` on the grid; an int for integer costs."""
    exponent = _grid_exponent(problem, measure)
    plain = measure.sign * value
    return int(plain) if exponent is None else math.ldexp(plain, -exponent)


def _grid_exponent(problem: SearchProblem, measure: Measure) -> int | None:
    if measure.cost is not None and problem.is_integer(measure.cost):
        return None
    largest = problem.magnitude(measure.cost)
    return _GRID_BITS - math.frexp(largest)[1] if largest else 0


def _on_grid(table: np.ndarray, exponent: int | None, sign: int) -> np.ndarray:
    if exponent is not None:
        table = np.rint(np.ldexp(table.astype(np.float64, copy=False), exponent))
    table = table.astype(np.int64, copy=False)
    return table if sign > 0 else -table


def _block(
    block: BlockCandidates, heads: dict[int, int], measures: Sequence[Measure], exponents: Sequence[int | None]
) -> tuple[ChainCell, ...]:
    cells, first = [], 0
    for cell in block.cells:
        tables = [cell.ratings[None] if m.cost is None else cell.costs[m.cost] for m in measures]
        values = tuple(_on_grid(t, e, m.sign) for t, m, e in zip(tables, measures, exponents, strict=True))
        cells.append(ChainCell(head=heads[cell.width], first=first, values=values))
        first += len(cell)
    return tuple(cells)


def _limit_on_grid(limit: Limit, exponent: int | None) -> float:
    """The largest grid integer that keeps a one-sided limit (on the negated cost when it is a lower one)."""
    end = limit.max if limit.max is not None else -limit.min  # type: ignore[operator]
    if exponent is None:
        return float(math.floor(end))
    return float(math.floor(math.ldexp(end + abs(end) * FLOAT_SLACK, exponent)))


def _clip_limits(chain: Chain) -> Chain:
    """Bring limits that nothing can reach or miss near to the reachable sums, so that numbers keep their scale."""
    limits = []
    for row, limit in enumerate(chain.limits, start=1):
        lows = [min(int(cell.values[row].min()) for cell in block) for block in chain.blocks]
        highs = [max(int(cell.values[row].max()) for cell in block) for block in chain.blocks]
        limits.append(min(max(limit, sum(lows) - 1), sum(highs)))
    return replace(chain, limits=np.array(limits, dtype=np.float64))
