"""What a unit and a block may become: options with ratings and exact costs, in the form that the solver takes."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from distilnas.costing.measures import MEASURES, Part
from distilnas.solve import BlockCandidates, CellCandidates
from distilnas.surgery.chain import Unit
from distilnas.surgery.cut import cut
from distilnas.surgery.grafts import Cuttable
from distilnas.tables.measures import Number

Numbers = tuple[int, ...] | None
"""What of a unit is kept: so many elements of each of its groups; None: it is left out."""

MOST_CANDIDATES = 300_000  # of a block; beyond, its units offer fewer options
_MOST_CORNERS = 4  # groups of a unit, beyond which corners are more than options
_MOST_OPTIONS = 400  # of a unit; beyond, its groups are not combined freely


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitFamily:
    """One unit's ``options``, all kept first, left out (None) last where that is allowed.

    ``ratings`` (n,): sums over the groups that are cut; 0 for None, whose rating is the block's affair. ``costs``: (n,)
    by name, integers where they are counted.
    """

    options: tuple[Numbers, ...]
    ratings: np.ndarray
    costs: Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockFamily:
    """A block's units in a row; ``dropped`` rates every set of units that are left out together, by their places.

    Leaving out several layers of one block hurts more than the sum of each, so that these ratings are joint; what the
    cuts inside the other units cost is added to them.
    """

    name: str
    units: tuple[UnitFamily, ...]
    dropped: Mapping[tuple[int, ...], float]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(unit.options) for unit in self.units)

    def choice(self, candidate: int) -> tuple[Numbers, ...]:
        """What candidate number ``candidate`` (C order over the units' options) makes of each unit."""
        path = np.unravel_index(candidate, self.shape)
        return tuple(unit.options[int(i)] for unit, i in zip(self.units, path, strict=True))

    def candidate(self, choice: Sequence[Numbers]) -> int:
        """The number of a choice; the inverse of ``choice``."""
        path = [unit.options.index(numbers) for unit, numbers in zip(self.units, choice, strict=True)]
        return int(np.ravel_multi_index(path, self.shape))

    def candidates(self) -> BlockCandidates:
        """All candidates for the solver; the width that it hands on is always the teacher's, here 0."""
        ratings = _outer_sum([unit.ratings for unit in self.units]) + self._joint().ravel()
        names = self.units[0].costs
        costs = {name: _outer_sum([unit.costs[name] for unit in self.units])[None] for name in names}
        cell = CellCandidates(name="parent", width=0, ratings=ratings, costs=costs)
        return BlockCandidates(name=self.name, in_widths=(0,), cells=(cell,))

    def _joint(self) -> np.ndarray:
        joint = np.zeros(self.shape)
        for places, rating in self.dropped.items():
            where = tuple(
                -1 if at in places else slice(0, len(unit.options) - (None in unit.options))
                for at, unit in enumerate(self.units)
            )
            joint[where] = rating
        return joint


def unit_family(
    unit: Unit,
    parts: Sequence[Cuttable],
    ratings: Sequence[Mapping[int, float]],
    measures: Sequence[str],
    timed: Mapping[str, Callable[[Numbers], float]] = MappingProxyType({}),
) -> UnitFamily:
    """The family of ``unit``: all combinations of its groups' options; of many groups only some (`_one_by_one`).

    ``ratings[group][number]`` of keeping so many elements. Costs are counted on the unit with all and with the fewest
    elements of each group, with and without each branch: in between they are linear in each number, and follow exactly.
    ``timed``: further costs, which are not counted.
    """
    free = math.prod(len(part.options) for part in parts) <= _MOST_OPTIONS
    options: list[Numbers] = list(
        itertools.product(*[p.options for p in parts]) if free else _one_by_one(parts, ratings)
    )
    rated = [sum(ratings[g].get(n, 0.0) for g, n in enumerate(numbers or ())) for numbers in options]
    costs = {name: values.tolist() for name, values in _costs(unit, parts, options, measures).items()}
    if unit.droppable:
        options.append(None)
        rated.append(0.0)
        costs = {name: [*values, 0] for name, values in costs.items()}
    return UnitFamily(
        options=tuple(options),
        ratings=np.array(rated),
        costs={name: np.array(values, dtype=np.int64) for name, values in costs.items()}
        | {name: np.array([cost(numbers) for numbers in options], dtype=np.float64) for name, cost in timed.items()},
    )


def thinned(family: UnitFamily, most: int) -> UnitFamily:
    """At most ``most`` options: those that others beat in all costs and the rating go first; all kept and None stay."""
    if len(family.options) <= most:
        return family
    table = np.column_stack([family.ratings, *family.costs.values()])
    beaten = [((table <= row).all(1) & (table < row).any(1)).sum() for row in table]
    must = [i for i, numbers in enumerate(family.options) if i == 0 or numbers is None]
    rest = [i for i in np.argsort(beaten, kind="stable") if i not in must]
    keep = sorted([*must, *rest[: most - len(must)]])
    costs = {name: values[keep] for name, values in family.costs.items()}
    return UnitFamily(options=tuple(family.options[i] for i in keep), ratings=family.ratings[keep], costs=costs)


def _costs(
    unit: Unit, parts: Sequence[Cuttable], options: Sequence[Numbers], measures: Sequence[str]
) -> dict[str, np.ndarray]:
    """By the multilinear formula from the corners, in exact integers; of many groups each option is counted."""
    if len(parts) > _MOST_CORNERS:
        rows = [_counted(unit, parts, numbers or (), measures) for numbers in options]
        return {name: np.array([row[name] for row in rows]) for name in measures}
    counted: dict[str, np.ndarray] = {name: np.zeros(len(options), dtype=np.int64) for name in measures}
    for gone in dict.fromkeys(tuple(number == 0 for number in numbers or ()) for numbers in options):
        ends = [_ends(part, left_out) for part, left_out in zip(parts, gone, strict=True)]
        corners = {
            corner: _counted(unit, parts, corner, measures)
            for corner in itertools.product(*[dict.fromkeys(end) for end in ends])
        }
        for at, numbers in enumerate(options):
            if tuple(number == 0 for number in numbers or ()) == gone:
                for name in measures:
                    counted[name][at] = _between(corners, ends, numbers or (), name)
    return counted


def _ends(part: Cuttable, left_out: bool) -> tuple[int, int]:
    """Most and fewest elements; a branch that is left out is no end of a line through the others."""
    some = [number for number in part.options if number]
    return (0, 0) if left_out else (some[0], some[-1])


def _counted(
    unit: Unit, parts: Sequence[Cuttable], numbers: Sequence[int], measures: Sequence[str]
) -> dict[str, Number]:
    module = unit.copy()
    for part, number in zip(parts, numbers, strict=True):
        cut(module, part.group, range(number))
    whole = Part(module, unit.in_shape)
    return {name: MEASURES[name](whole) for name in measures}


def _one_by_one(parts: Sequence[Cuttable], ratings: Sequence[Mapping[int, float]]) -> list[Numbers]:
    """From all kept on, always the next cut that adds least to the rating for the channels it saves."""
    levels = [0] * len(parts)
    path: list[Numbers] = [tuple(part.options[0] for part in parts)]

    def price(g: int) -> float:
        now, then = (parts[g].options[levels[g] + step] for step in (0, 1))
        return (ratings[g][then] - ratings[g].get(now, 0.0)) / (now - then)

    while open_groups := [g for g, part in enumerate(parts) if levels[g] + 1 < len(part.options)]:
        levels[min(open_groups, key=price)] += 1
        path.append(tuple(part.options[level] for part, level in zip(parts, levels, strict=True)))
    return path


def _between(corners: Mapping, ends: Sequence[tuple[int, int]], numbers: tuple[int, ...], name: str) -> int:
    total, scale = 0, 1
    for corner, counts in corners.items():
        weight = 1
        for at, (most, least), number in zip(corner, ends, numbers, strict=True):
            if most != least:
                weight *= number - least if at == most else most - number
        total += weight * counts[name]
    for most, least in ends:
        scale *= max(1, most - least)
    value, rest = divmod(total, scale)
    assert rest == 0, "costs are linear in the number of channels"
    return value


def _outer_sum(rows: Sequence[np.ndarray]) -> np.ndarray:
    total = rows[0]
    for row in rows[1:]:
        total = np.add.outer(total, row)
    return total.ravel()
