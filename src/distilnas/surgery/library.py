"""The library of a teacher: every cut, every unit left out, every new module in units' place, every early end.

Each is repaired and rated alone.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from distilnas.costing.measures import ADDITIVE, MEASURES, Part
from distilnas.networks.new_parts import PooledClassifier
from distilnas.solve import BlockCandidates, CellCandidates, SearchProblem
from distilnas.solve.problem import Position
from distilnas.surgery.chain import Unit
from distilnas.surgery.families import (
    MOST_CANDIDATES,
    BlockFamily,
    Form,
    Kept,
    Numbers,
    UnitFamily,
    replaced_form,
    thinned,
    unit_family,
)
from distilnas.surgery.grafts import Cuttable
from distilnas.surgery.rate import Rating
from distilnas.surgery.sides import at_side


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A student: what is kept of each unit (None: left out), and after which unit it ends early, if it does.

    ``kept`` has one entry a unit, the head included, or ends with the unit that the new classifier follows. Units left
    out right behind a new module, in its block, are those that it stands for. ``side``: of its images in pixels; None:
    the teacher's.
    """

    kept: tuple[Kept, ...]
    early: bool = False
    side: int | None = None


class Timed(Protocol):
    """A cost of students that is measured and adds up, approximately."""

    def unit(self, i: int, numbers: Numbers, *, side: int | None) -> float:
        """Of a unit of which so much is kept, for images of a side; 0 where it is left out."""
        ...

    def head(self, last: int, *, side: int | None) -> float:
        """Of the classifier of an early end behind a unit."""
        ...


class Place(NamedTuple):
    """Units ``first`` to ``last`` (both included) of one block, and the ``text`` of the new module in their place."""

    first: int
    last: int
    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Replacement:
    """A new ``module`` fitted to what the teacher's units do, and its ``rating``."""

    module: nn.Module
    rating: Rating


@dataclass(frozen=True, kw_only=True, eq=False)
class Trunk:
    """One exact search: all students that end early behind ``last`` (None: none of them does) and see images of
    ``side`` pixels (None: the teacher's)."""

    last: int | None
    side: int | None = None
    families: tuple[BlockFamily, ...]
    problem: SearchProblem

    def of_parent(self) -> "Trunk":
        """Without new modules: every block in its first form, so that positions mean the same."""
        blocks = tuple(replace(block, cells=block.cells[:1]) for block in self.problem.blocks)
        return replace(self, problem=replace(self.problem, blocks=blocks))


@dataclass(frozen=True, kw_only=True, eq=False)
class Library:
    """``parts[unit]``: its cuttable groups; ``widths[unit][group][number]``, ``drops[units left out]`` (all of one
    block), ``exits[unit]``: their ratings; ``heads[unit]``: the classifier of an early end behind it; ``replacements``:
    new modules in the place of units. ``sides``: what smaller images cost the teacher with a refitted classifier, by
    their side in pixels.
    """

    units: tuple[Unit, ...]
    parts: tuple[tuple[Cuttable, ...], ...]
    widths: tuple[tuple[Mapping[int, Rating], ...], ...]
    drops: Mapping[tuple[int, ...], Rating]
    exits: Mapping[int, Rating]
    heads: Mapping[int, PooledClassifier]
    replacements: Mapping[Place, Replacement]
    sides: Mapping[int, Rating] = field(default_factory=dict)

    def rating_of(self, choice: Choice) -> Rating:
        """The sum that the search minimises, with its values batch by batch."""
        parts = [
            self.widths[i][g][number]
            for i, numbers in enumerate(choice.kept)
            if not isinstance(numbers, str)
            for g, number in enumerate(numbers or ())
            if number in self.widths[i][g]
        ]
        parts += [self.replacements[place].rating for place in self.replaced(choice)]
        parts += [self.drops[dropped] for dropped in self.dropped(choice)]
        parts += [self.exits[len(choice.kept) - 1]] if choice.early else []
        parts += [self.sides[choice.side]] if choice.side is not None else []
        batches = np.sum([part.batches for part in parts], axis=0) if parts else np.zeros(2)
        stderr = float(batches.std(ddof=1) / np.sqrt(len(batches)))
        return Rating(mean=float(np.sum([part.mean for part in parts])), stderr=stderr, batches=batches)

    def dropped(self, choice: Choice) -> list[tuple[int, ...]]:
        """Units left out, block by block, those aside that new modules stand for."""
        replaced = {i for place in self.replaced(choice) for i in range(place.first, place.last + 1)}
        out = [i for i, numbers in enumerate(choice.kept) if numbers is None and i not in replaced]
        return [tuple(group) for _, group in itertools.groupby(out, key=lambda i: self.units[i].block)]

    def replaced(self, choice: Choice) -> list[Place]:
        """The new modules of a choice and the units that they stand for."""
        places = []
        for i, text in enumerate(choice.kept):
            if isinstance(text, str):
                block = self.units[i].block
                rest = range(i + 1, len(choice.kept))
                behind = itertools.takewhile(lambda j: choice.kept[j] is None and self.units[j].block == block, rest)  # noqa: B023
                places.append(Place(i, i + len(list(behind)), text))
        return places

    def whole(self, side: int | None = None) -> Choice:
        """The teacher itself, for images of ``side`` pixels."""
        return Choice(kept=tuple(tuple(part.options[0] for part in parts) for parts in self.parts), side=side)

    def trunks(
        self, measures: Sequence[str] = ADDITIVE, timed: Mapping[str, Timed] = MappingProxyType({})
    ) -> tuple[Trunk, ...]:
        """The searches that together hold every student of the library; first that of whole students at the teacher's
        side.

        ``timed``: further costs by name, which are not counted; with them students have no new modules.
        """
        found = []
        for side in (None, *sorted(self.sides, reverse=True)):
            units = at_side(self.units, side)
            families = self._families(units, measures, timed, side)
            found += [self._trunk(last, side, units, families, measures, timed) for last in (None, *sorted(self.exits))]
        return tuple(found)

    def _families(
        self, shaped: Sequence[Unit], measures: Sequence[str], timed: Mapping[str, Timed], side: int | None
    ) -> list[BlockFamily]:
        families = []
        for _, group in itertools.groupby(range(len(self.units)), key=lambda i: self.units[i].block):
            inside = list(group)
            means = {i: [{n: r.mean for n, r in rated.items()} for rated in self.widths[i]] for i in inside}
            further = {i: {name: partial(table.unit, i, side=side) for name, table in timed.items()} for i in inside}
            units = [unit_family(shaped[i], self.parts[i], means[i], measures, further[i]) for i in inside]
            most = int(MOST_CANDIDATES ** (1 / len(units)))
            name = self.units[inside[-1]].name
            units = [thinned(unit, most) for unit in units]
            dropped = {tuple(i - inside[0] for i in out): r.mean for out, r in self.drops.items() if out[0] in inside}
            forms = [Form(name="parent", units=tuple(units), dropped=dropped)]
            forms += [] if timed else self._replaced_forms(inside, shaped, units, measures)
            families.append(BlockFamily(name=name, forms=tuple(forms)))
        return families

    def _replaced_forms(
        self, inside: Sequence[int], shaped: Sequence[Unit], units: Sequence[UnitFamily], measures: Sequence[str]
    ) -> Iterator[Form]:
        """The block of units ``inside`` with each new module in it that fits the shapes; their time is not measured."""
        for place, made in self.replacements.items():
            if place.first in inside and _fits(made.module, shaped[place.first], shaped[place.last]):
                part = Part(made.module, shaped[place.first].in_shape)
                costs = {name: MEASURES[name](part) for name in measures}
                places = (place.first - inside[0], place.last - inside[0])
                yield replaced_form(place.text, units, places, made.rating.mean, costs)

    def _trunk(
        self,
        last: int | None,
        side: int | None,
        shaped: Sequence[Unit],
        families: Sequence[BlockFamily],
        measures: Sequence[str],
        timed: Mapping[str, Timed],
    ) -> Trunk:
        base = 0.0 if side is None else self.sides[side].mean
        kept = tuple(families if last is None else families[: shaped[last].block - shaped[0].block + 1])
        first, *others = (family.candidates() for family in kept)
        blocks = (_raised(first, base), *others)
        if last is None:
            return Trunk(last=None, side=side, families=kept, problem=SearchProblem(blocks=blocks))
        part = Part(self.heads[last], shaped[last].out_shape)
        costs = {name: np.array([[MEASURES[name](part)]], dtype=np.int64) for name in measures}
        costs |= {name: np.array([[table.head(last, side=side)]]) for name, table in timed.items()}
        cell = CellCandidates(name="early", width=0, ratings=np.array([self.exits[last].mean]), costs=costs)
        end = BlockCandidates(name="early end", in_widths=(0,), cells=(cell,))
        return Trunk(last=last, side=side, families=kept, problem=SearchProblem(blocks=(*blocks, end)))


def _raised(block: BlockCandidates, by: float) -> BlockCandidates:
    """``block`` with all ratings higher."""
    return replace(block, cells=tuple(replace(cell, ratings=cell.ratings + by) for cell in block.cells))


def choice_in(trunk: Trunk, positions: Sequence[Position]) -> Choice:
    """The student at these positions of the trunk's search."""
    kept = [family.choice(position) for family, position in zip(trunk.families, positions, strict=False)]
    return Choice(kept=tuple(itertools.chain.from_iterable(kept)), early=trunk.last is not None, side=trunk.side)


def own_units(choice: Choice) -> list[tuple[int, tuple[int, ...]]]:
    """The teacher's units that are there, by number, and what is kept of each; for students without new modules."""
    if any(isinstance(kept, str) for kept in choice.kept):
        raise ValueError("the student has new modules")
    return [(i, kept) for i, kept in enumerate(choice.kept) if isinstance(kept, tuple)]


@torch.no_grad()
def _fits(module: nn.Module, first: Unit, last: Unit) -> bool:
    """Whether ``module`` gives the last unit's shape for the first one's, which need not hold at another side."""
    try:
        return tuple(module(first.example()).shape[1:]) == last.out_shape
    except RuntimeError:  # tokens that do not make up its grid
        return False
