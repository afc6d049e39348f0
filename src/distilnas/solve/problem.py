"""The search over block candidates as plain data: what may be chosen, what it costs, what is allowed, what was found.

An architecture takes one candidate (a cell and a path in it) from every block. Its rating is the sum of the blocks'
ratings (section "Search" of the DNA paper); its costs are sums too, except that a candidate's cost depends on the
width that the previous block's cell emits. Costs are therefore tables over (incoming width, candidate).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from distilnas.errors import UsageError, nearest

Number = int | float
FLOAT_SLACK = 1e-12  # relative, by which the sum of a float cost may pass its limit
_EXACT = 2**53  # integers up to here are exact in float64, which the solver calculates in


class Position(NamedTuple):
    """What one block takes: position of the cell in the block, position of the candidate in the cell."""

    cell: int
    candidate: int


@dataclass(frozen=True, kw_only=True, eq=False)
class CellCandidates:
    """All candidates of one cell.

    ``width`` is what the cell emits; ``ratings`` (n_c,) are finite (checked with the block), lower is better;
    ``costs`` maps each cost's name to an integer or float array (n_in, n_c) with a row for each of the block's
    ``in_widths``. The arrays are kept read-only.
    """

    name: str
    width: int
    ratings: np.ndarray
    costs: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ratings = np.asarray(self.ratings, dtype=np.float64)
        if ratings.ndim != 1 or ratings.size == 0:
            raise UsageError(f"cell {self.name!r}: ratings must be (n_candidates,), n >= 1; got shape {ratings.shape}.")
        object.__setattr__(self, "ratings", _readonly(ratings))
        costs = {}
        for cost, values in self.costs.items():
            array = np.asarray(values)
            where = f"cell {self.name!r}: cost {cost!r}"
            if array.ndim != 2 or array.shape[1] != ratings.size:
                raise UsageError(f"{where} must be (n_in_widths, {ratings.size}); got shape {array.shape}.")
            if array.dtype.kind not in "iuf":
                raise UsageError(f"{where} must hold integers or floats; got {array.dtype}.")
            costs[cost] = _readonly(array)
        object.__setattr__(self, "costs", costs)

    def __len__(self) -> int:
        return self.ratings.size


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockCandidates:
    """One block: the widths it may receive (the rows of its cells' costs) and its cells."""

    name: str
    in_widths: tuple[int, ...]
    cells: tuple[CellCandidates, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "in_widths", tuple(self.in_widths))
        object.__setattr__(self, "cells", tuple(self.cells))
        if not self.cells:
            raise UsageError(f"block {self.name!r} must have at least one cell.")
        if not self.in_widths or len(set(self.in_widths)) != len(self.in_widths):
            raise UsageError(f"block {self.name!r}: in_widths must be distinct, at least one; got {self.in_widths}.")
        for cell in self.cells:
            where = f"block {self.name!r}, cell {cell.name!r}"
            _check_finite(f"{where}: ratings", cell.ratings)
            for cost, values in cell.costs.items():
                _check_finite(f"{where}: cost {cost!r}", values)
                if len(values) != len(self.in_widths):
                    raise UsageError(
                        f"{where}: cost {cost!r} must have one row per incoming width "
                        f"({len(self.in_widths)}); got {len(values)}."
                    )

    @property
    def out_widths(self) -> tuple[int, ...]:
        """The distinct widths the block can emit, in order of first appearance."""
        return tuple(dict.fromkeys(cell.width for cell in self.cells))

    def __len__(self) -> int:
        return sum(len(cell) for cell in self.cells)


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchProblem:
    """A chain of blocks, all of which cost the same things."""

    blocks: tuple[BlockCandidates, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if not self.blocks:
            raise UsageError("a search problem must have at least one block.")
        if len(self.blocks[0].in_widths) != 1:
            raise UsageError(f"the first block receives one width; got {self.blocks[0].in_widths}.")
        for before, block in zip(self.blocks, self.blocks[1:], strict=False):
            if set(block.in_widths) != set(before.out_widths):
                raise UsageError(
                    f"block {block.name!r} must list exactly the widths that {before.name!r} emits, "
                    f"{sorted(before.out_widths)}; got {sorted(block.in_widths)}."
                )
        self._check_costs()

    def _check_costs(self) -> None:
        for block in self.blocks:
            for cell in block.cells:
                if set(cell.costs) != set(self.cost_names):
                    raise UsageError(
                        f"all cells must have the same costs, {sorted(self.cost_names)}; block {block.name!r}, "
                        f"cell {cell.name!r} has {sorted(cell.costs)}."
                    )
        for cost in self.cost_names:
            if self.is_integer(cost) and self.magnitude(cost) >= _EXACT:
                raise UsageError(
                    f"sums of the integer cost {cost!r} must stay below 2**53 to be exact; "
                    f"got up to {self.magnitude(cost):.3g}. Give it in a larger unit."
                )

    @property
    def cost_names(self) -> tuple[str, ...]:
        return tuple(self.blocks[0].cells[0].costs)

    @property
    def num_architectures(self) -> int:
        """How many architectures the space holds; exact."""
        return math.prod(len(block) for block in self.blocks)

    def check_cost(self, cost: str) -> None:
        """Raise `UsageError` unless ``cost`` is one of the problem's costs."""
        if cost not in self.cost_names:
            raise UsageError(f"a cost must be one that the candidates have; got {cost!r}: "
                             f"{nearest(cost, self.cost_names)}")  # fmt: skip

    def is_integer(self, cost: str) -> bool:
        """Whether all values of ``cost`` are integers, so that sums and limits are exact."""
        return all(cell.costs[cost].dtype.kind in "iu" for block in self.blocks for cell in block.cells)

    def magnitude(self, cost: str | None) -> float:
        """An upper bound of the absolute cost (``None``: rating) of any partial architecture."""
        tables = [[cell.ratings if cost is None else cell.costs[cost] for cell in b.cells] for b in self.blocks]
        return sum(max(max(-float(t.min()), float(t.max()), 0.0) for t in block) for block in tables)

    def evaluate(self, positions: Sequence[Position]) -> tuple[float, dict[str, Number]]:
        """Rating and costs of one architecture: ``math.fsum`` of the blocks' values (exact sums of integers)."""
        ratings, parts, width = [], {cost: [] for cost in self.cost_names}, self.blocks[0].in_widths[0]
        for block, (cell_index, candidate) in zip(self.blocks, positions, strict=True):
            cell, row = block.cells[cell_index], block.in_widths.index(width)
            ratings.append(float(cell.ratings[candidate]))
            for cost, values in cell.costs.items():
                parts[cost].append(values[row, candidate].item())
            width = cell.width
        return math.fsum(ratings), {c: int(sum(p)) if self._integer[c] else math.fsum(p) for c, p in parts.items()}

    @cached_property
    def _integer(self) -> dict[str, bool]:
        return {cost: self.is_integer(cost) for cost in self.cost_names}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """``min <= cost <= max``, both ends included; at least one end is given.

    A limit on an integer cost is exact. A float cost may pass its limit by `FLOAT_SLACK`, so that the cost printed
    for one solution can be given back as a limit.
    """

    cost: str
    max: Number | None = None
    min: Number | None = None

    def __post_init__(self) -> None:
        ends = [end for end in (self.min, self.max) if end is not None]
        if not ends or not all(math.isfinite(end) for end in ends) or ends != sorted(ends):
            raise UsageError(f"a limit on {self.cost!r} needs a finite max, a finite min, or both with min <= max; "
                             f"got min={self.min}, max={self.max}.")  # fmt: skip

    def allows(self, value: Number) -> bool:
        """Whether ``value``, a sum of the cost, keeps the limit."""
        slack = 0 if isinstance(value, int) else FLOAT_SLACK
        above = self.min is None or value >= self.min - abs(self.min) * slack
        return above and (self.max is None or value <= self.max + abs(self.max) * slack)

    def __str__(self) -> str:
        low = "" if self.min is None else f"{_text(self.min)} <= "
        return f"{low}{self.cost}" + ("" if self.max is None else f" <= {_text(self.max)}")


@dataclass(frozen=True, kw_only=True)
class Solution:
    """One architecture that keeps the limits.

    ``optimal`` says that it is proved to be the best (or, at place i of a list, the i-th best); then ``bound`` equals
    ``rating``. Otherwise time ran out, and no architecture that was not listed before it rates below ``bound``.
    ``seconds`` is the duration of the call that found it.
    """

    positions: tuple[Position, ...]
    rating: float
    costs: Mapping[str, Number]
    optimal: bool
    bound: float
    seconds: float


def _text(value: Number) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:,.6g}"


def _readonly(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _check_finite(where: str, array: np.ndarray) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise UsageError(f"{where} must be finite; entry {index} is {array[index]}. Rate or measure it again.")
