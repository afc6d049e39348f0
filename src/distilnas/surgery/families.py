"""What a unit and a block may become: options with ratings and exact costs, in the form that the solver takes."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from distilnas.solve import BlockCandidates, CellCandidates
from distilnas.solve.problem import Position
from distilnas.surgery.chain import Unit
from distilnas.surgery.costs import costs_of
from distilnas.surgery.grafts import Cuttable
from distilnas.tables.measures import Number

Numbers = tuple[int, ...] | None
"""What of a unit is kept: so many elements of each of its groups; None: it is left out."""

Kept = Numbers | str
"""The same, or the text of a new module in its place, and in that of the units behind it that are left out."""

MOST_CANDIDATES = 300_000  # of a block; beyond, its units offer fewer options
_MOST_OPTIONS = 400  # of a unit; beyond, its groups are not combined freely


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitFamily:
    """One unit's ``options``, all kept first, left out (None) last where that is allowed.

    ``ratings`` (n,): sums over the groups that are cut; 0 for None, whose rating is the block's affair. ``costs``: (n,)
    by name, integers where they are counted.
    """

    options: tuple[Kept, ...]
    ratings: np.ndarray
    costs: Mapping[str, np.ndarray]

    def present(self) -> "UnitFamily":
        """Without the option to leave it out."""
        if None not in self.options:
            return self
        costs = {name: values[:-1] for name, values in self.costs.items()}
        return UnitFamily(options=self.options[:-1], ratings=self.ratings[:-1], costs=costs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """One way to fill a block: its units in a row, of which each takes one of its options.

    ``dropped`` rates every set of units that are left out together, by their places. Leaving out several layers of one
    block hurts more than the sum of each, so that these ratings are joint; what the cuts inside the other units cost is
    added to them.
    """

    name: str
    units: tuple[UnitFamily, ...]
    dropped: Mapping[tuple[int, ...], float]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(unit.options) for unit in self.units)

    def choice(self, candidate: int) -> tuple[Kept, ...]:
        """What candidate number ``candidate`` (C order over the units' options) makes of each unit."""
        path = np.unravel_index(candidate, self.shape)
        return tuple(unit.options[int(i)] for unit, i in zip(self.units, path, strict=True))

    def candidate(self, choice: Sequence[Kept]) -> int | None:
        """The number of a choice, the inverse of ``choice``; None where it is none of this form."""
        units = list(zip(self.units, choice, strict=True))
        if not all(kept in unit.options for unit, kept in units):
            return None
        return int(np.ravel_multi_index([unit.options.index(kept) for unit, kept in units], self.shape))

    def candidates(self) -> CellCandidates:
        """All for the solver; the width that the block hands on is always the teacher's, here 0."""
        ratings = _outer_sum([unit.ratings for unit in self.units]) + self._joint().ravel()
        names = self.units[0].costs
        costs = {name: _outer_sum([unit.costs[name] for unit in self.units])[None] for name in names}
        return CellCandidates(name=self.name, width=0, ratings=ratings, costs=costs)

    def _joint(self) -> np.ndarray:
        joint = np.zeros(self.shape)
        for places, rating in self.dropped.items():
            where = tuple(
                -1 if at in places else slice(0, len(unit.options) - (None in unit.options))
                for at, unit in enumerate(self.units)
            )
            joint[where] = rating
        return joint


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockFamily:
    """Everything that a block may become: the ``forms`` are the solver's cells."""

    name: str
    forms: tuple[Form, ...]

    @property
    def num_units(self) -> int:
        return len(self.forms[0].units)

    def choice(self, position: Position) -> tuple[Kept, ...]:
        """What the candidate at ``position`` makes of each unit."""
        return self.forms[position.cell].choice(position.candidate)

    def position(self, choice: Sequence[Kept]) -> Position | None:
        """The inverse of ``choice``; None where the search leaves it out."""
        found = ((cell, form.candidate(choice)) for cell, form in enumerate(self.forms))
        return next((Position(cell, number) for cell, number in found if number is not None), None)

    def candidates(self) -> BlockCandidates:
        """All candidates for the solver."""
        return BlockCandidates(name=self.name, in_widths=(0,), cells=tuple(form.candidates() for form in self.forms))


def replaced_form(
    name: str, units: Sequence[UnitFamily], places: tuple[int, int], rating: float, costs: Mapping[str, Number]
) -> Form:
    """One new module in the place of the units from ``places[0]`` to ``places[1]``; all others are there, maybe cut.

    ``name`` is the module's text.
    """
    first, last = places
    alone = {cost: np.array([value]) for cost, value in costs.items()}
    none = {cost: np.zeros_like(value) for cost, value in alone.items()}
    new = UnitFamily(options=(name,), ratings=np.array([rating]), costs=alone)
    gone = UnitFamily(options=(None,), ratings=np.zeros(1), costs=none)
    around = [unit.present() for unit in units]
    return Form(name=name, units=(*around[:first], new, *[gone] * (last - first), *around[last + 1 :]), dropped={})


def unit_family(
    unit: Unit,
    parts: Sequence[Cuttable],
    ratings: Sequence[Mapping[int, float]],
    measures: Sequence[str],
    timed: Mapping[str, Callable[[Numbers], float]] = MappingProxyType({}),
) -> UnitFamily:
    """The family of ``unit``: all combinations of its groups' options; of many groups only some (`_one_by_one`).

    ``ratings[group][number]`` of keeping so many elements. ``timed``: further costs, which are not counted.
    """
    free = math.prod(len(part.options) for part in parts) <= _MOST_OPTIONS
    kept = list(itertools.product(*[part.options for part in parts])) if free else _one_by_one(parts, ratings)
    rated = [sum(ratings[g].get(n, 0.0) for g, n in enumerate(numbers)) for numbers in kept]
    gone = [None] if unit.droppable else []
    options: list[Numbers] = [*kept, *gone]
    return UnitFamily(
        options=tuple(options),
        ratings=np.array([*rated, *[0.0 for _ in gone]]),
        costs={
            name: np.append(values, np.zeros_like(values, shape=len(gone)))
            for name, values in costs_of(unit, parts, kept, measures).items()
        }
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


def _one_by_one(parts: Sequence[Cuttable], ratings: Sequence[Mapping[int, float]]) -> list[tuple[int, ...]]:
    """From all kept on, always the next cut that adds least to the rating for the channels it saves."""
    levels = [0] * len(parts)
    path = [tuple(part.options[0] for part in parts)]

    def price(g: int) -> float:
        now, then = (parts[g].options[levels[g] + step] for step in (0, 1))
        return (ratings[g][then] - ratings[g].get(now, 0.0)) / (now - then)

    while open_groups := [g for g, part in enumerate(parts) if levels[g] + 1 < len(part.options)]:
        levels[min(open_groups, key=price)] += 1
        path.append(tuple(part.options[level] for part, level in zip(parts, levels, strict=True)))
    return path


def _outer_sum(rows: Sequence[np.ndarray]) -> np.ndarray:
    total = rows[0]
    for row in rows[1:]:
        total = np.add.outer(total, row)
    return total.ravel()
