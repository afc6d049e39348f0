"""Peak memory as a limit: between two units nothing is there but what one hands to the other, so that a student's peak
is the greatest of its units' peaks, and a limit on it leaves out options of single units.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from distilnas.costing.memory import peak_bytes
from distilnas.errors import InfeasibleError, UsageError
from distilnas.runtime.skeletons import skeleton
from distilnas.solve import BlockCandidates, CellCandidates, Limit, SearchProblem
from distilnas.surgery.chain import Unit
from distilnas.surgery.cut import cut
from distilnas.surgery.families import BlockFamily, Form, Kept, UnitFamily
from distilnas.surgery.library import Choice, Library, Place, Trunk
from distilnas.surgery.sides import at_side

PEAK = "peak_memory"


def peak_limit(limits: Sequence[Limit]) -> Limit | None:
    """The limit on peak memory, if there is one; raises ``UsageError`` for a lower one."""
    found = next((limit for limit in limits if limit.cost == PEAK), None)
    if found is not None and (found.max is None or found.min is not None):
        raise UsageError(f"{PEAK} is limited from above alone, e.g. {PEAK}: 256K or 50%, got {found}.")
    return found


def without_peak(limits: Sequence[Limit]) -> list[Limit]:
    """Those on what adds up."""
    return [limit for limit in limits if limit.cost != PEAK]


@dataclass(eq=False)
class Peaks:
    """Of all students of a ``library``; each unit is looked at once in each form."""

    library: Library
    _sides: dict[int | None, tuple[Unit, ...]] = field(default_factory=dict, init=False)
    _found: dict[tuple[int | None, int, int, Kept], int] = field(default_factory=dict, init=False)

    def of(self, choice: Choice) -> int:
        """Bytes, for one image."""
        lasts = {place.first: place.last for place in self.library.replaced(choice)}
        found = [self._unit(choice.side, i, lasts.get(i, i), kept) for i, kept in enumerate(choice.kept)]
        return max(found + ([self._head(choice.side, len(choice.kept) - 1)] if choice.early else []))

    def within(self, trunks: Sequence[Trunk], limit: Limit) -> tuple[Trunk, ...]:
        """The searches without what is over the limit; those that nothing is left of are left out.

        Raises ``InfeasibleError`` where none is left; the message has the smallest peak and the unit that has it.
        """
        found = [trunk for one in trunks if (trunk := self._trunk_within(one, limit)) is not None]
        if not found:
            least, name = min(self._least(trunk) for trunk in trunks)
            raise InfeasibleError(
                f"No student of this library keeps {limit}: the least that one reaches is {least:,} bytes, in {name}. "
                "Relax this limit or give the library smaller ratios or images."
            )
        return tuple(found)

    def _trunk_within(self, trunk: Trunk, limit: Limit) -> Trunk | None:
        families, blocks = [], []
        if trunk.last is not None and not limit.allows(self._head(trunk.side, trunk.last)):
            return None
        for first, family, block in _blocks(trunk):
            pairs = [
                self._form_within(trunk.side, first, *pair, limit)
                for pair in zip(family.forms, block.cells, strict=True)
            ]
            left = [pair for pair in pairs if pair is not None]
            if not left:
                return None
            forms, cells = zip(*left, strict=True)
            families.append(BlockFamily(name=family.name, forms=forms))
            blocks.append(replace(block, cells=cells))
        rest = trunk.problem.blocks[len(blocks) :]
        return replace(trunk, families=tuple(families), problem=SearchProblem(blocks=(*blocks, *rest)))

    def _form_within(
        self, side: int | None, first: int, form: Form, cell: CellCandidates, limit: Limit
    ) -> tuple[Form, CellCandidates] | None:
        masks = [np.array([limit.allows(peak) for peak in peaks]) for peaks in self._options(side, first, form)]
        if not all(mask.any() for mask in masks):
            return None
        units = tuple(_only(unit, np.flatnonzero(mask)) for unit, mask in zip(form.units, masks, strict=True))
        some = np.ix_(*(np.flatnonzero(mask) for mask in masks))
        numbers = np.arange(len(cell)).reshape(form.shape)[some].ravel()
        costs = {name: values[:, numbers] for name, values in cell.costs.items()}
        return replace(form, units=units), replace(cell, ratings=cell.ratings[numbers], costs=costs)

    def _options(self, side: int | None, first: int, form: Form) -> Iterator[list[int]]:
        """Of each unit the peaks of its options."""
        for at, unit in enumerate(form.units):
            behind = itertools.takewhile(lambda other: other.options == (None,), form.units[at + 1 :])
            last = first + at + len(list(behind))
            yield [self._unit(side, first + at, last, kept) for kept in unit.options]

    def _least(self, trunk: Trunk) -> tuple[int, str]:
        """The smallest peak of the trunk's students, and the unit that has it."""
        found = [(self._head(trunk.side, trunk.last), "the new classifier")] if trunk.last is not None else []
        for first, family, _ in _blocks(trunk):
            forms = [
                max((min(peaks), self.library.units[first + at].name) for at, peaks in enumerate(options))
                for options in (list(self._options(trunk.side, first, form)) for form in family.forms)
            ]
            found.append(min(forms))
        return max(found)

    def _unit(self, side: int | None, i: int, last: int, kept: Kept) -> int:
        key = (side, i, last if isinstance(kept, str) else i, kept)
        if key not in self._found:
            self._found[key] = self._counted(*key)
        return self._found[key]

    def _counted(self, side: int | None, i: int, last: int, kept: Kept) -> int:
        if kept is None:
            return 0
        unit = self._shaped(side)[i]
        if isinstance(kept, str):
            return peak_bytes(self.library.replacements[Place(i, last, kept)].module, unit.in_shape)
        hollow = skeleton(unit.module)
        for part, number in zip(self.library.parts[i], kept, strict=True):
            cut(hollow, part.group, range(number))
        return peak_bytes(hollow, unit.in_shape)

    def _head(self, side: int | None, last: int) -> int:
        return peak_bytes(self.library.heads[last], self._shaped(side)[last].out_shape)

    def _shaped(self, side: int | None) -> tuple[Unit, ...]:
        if side not in self._sides:
            self._sides[side] = at_side(self.library.units, side)
        return self._sides[side]


def _blocks(trunk: Trunk) -> Iterator[tuple[int, BlockFamily, BlockCandidates]]:
    """Each block with the number of its first unit."""
    first = 0
    for family, block in zip(trunk.families, trunk.problem.blocks, strict=False):
        yield first, family, block
        first += family.num_units


def _only(unit: UnitFamily, rows: np.ndarray) -> UnitFamily:
    """With these options alone."""
    costs = {name: values[rows] for name, values in unit.costs.items()}
    return UnitFamily(options=tuple(unit.options[i] for i in rows), ratings=unit.ratings[rows], costs=costs)
