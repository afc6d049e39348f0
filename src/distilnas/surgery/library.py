"""The library of a teacher: every cut, every unit left out, every early end, each repaired and rated alone."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from distilnas.costing.measures import EXACT, MEASURES, Part
from distilnas.networks.parts import PooledClassifier
from distilnas.runtime.progress import Progress, SilentProgress
from distilnas.solve import BlockCandidates, CellCandidates, SearchProblem
from distilnas.surgery.chain import Unit, run
from distilnas.surgery.exits import fit_head, new_head
from distilnas.surgery.families import MOST_CANDIDATES, BlockFamily, Numbers, thinned, unit_family
from distilnas.surgery.grafts import Cuttable, cut_unit, make_grafts, worth_cutting
from distilnas.surgery.moments import moment_bytes, take_moments
from distilnas.surgery.rate import Rating, Trial, rate
from distilnas.surgery.sides import at_side

RATIOS = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A student: what is kept of each unit (None: left out), and after which unit it ends early, if it does.

    ``kept`` has one entry a unit, the head included, or ends with the unit that the new classifier follows. ``side``:
    of its images in pixels; None: the teacher's.
    """

    kept: tuple[Numbers, ...]
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Trunk:
    """One exact search: all students that end early behind ``last`` (None: none of them does) and see images of
    ``side`` pixels (None: the teacher's)."""

    last: int | None
    side: int | None = None
    families: tuple[BlockFamily, ...]
    problem: SearchProblem


@dataclass(frozen=True, kw_only=True, eq=False)
class Library:
    """``parts[unit]``: its cuttable groups; ``widths[unit][group][number]``, ``drops[units left out]`` (all of one
    block), ``exits[unit]``: their ratings; ``heads[unit]``: the classifier of an early end behind it. ``sides``: what
    smaller images cost the teacher with a refitted classifier, by their side in pixels.
    """

    units: tuple[Unit, ...]
    parts: tuple[tuple[Cuttable, ...], ...]
    widths: tuple[tuple[Mapping[int, Rating], ...], ...]
    drops: Mapping[tuple[int, ...], Rating]
    exits: Mapping[int, Rating]
    heads: Mapping[int, PooledClassifier]
    sides: Mapping[int, Rating] = field(default_factory=dict)

    def rating_of(self, choice: Choice) -> Rating:
        """The sum that the search minimises, with its values batch by batch."""
        parts = [
            self.widths[i][g][number]
            for i, numbers in enumerate(choice.kept)
            for g, number in enumerate(numbers or ())
            if number in self.widths[i][g]
        ]
        parts += [self.drops[dropped] for dropped in self.dropped(choice)]
        parts += [self.exits[len(choice.kept) - 1]] if choice.early else []
        parts += [self.sides[choice.side]] if choice.side is not None else []
        batches = np.sum([part.batches for part in parts], axis=0) if parts else np.zeros(2)
        stderr = float(batches.std(ddof=1) / np.sqrt(len(batches)))
        return Rating(mean=float(np.sum([part.mean for part in parts])), stderr=stderr, batches=batches)

    def dropped(self, choice: Choice) -> list[tuple[int, ...]]:
        """Units left out, block by block."""
        out = [i for i, numbers in enumerate(choice.kept) if numbers is None]
        return [tuple(group) for _, group in itertools.groupby(out, key=lambda i: self.units[i].block)]

    def whole(self, side: int | None = None) -> Choice:
        """The teacher itself, for images of ``side`` pixels."""
        return Choice(kept=tuple(tuple(part.options[0] for part in parts) for parts in self.parts), side=side)

    def trunks(
        self, measures: Sequence[str] = EXACT, timed: Mapping[str, Timed] = MappingProxyType({})
    ) -> tuple[Trunk, ...]:
        """The searches that together hold every student of the library; first that of whole students at the teacher's
        side.

        ``timed``: further costs by name, which are not counted.
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
            dropped = {
                tuple(i - inside[0] for i in places): rating.mean
                for places, rating in self.drops.items()
                if places[0] in inside
            }
            name = self.units[inside[-1]].name
            families.append(BlockFamily(name=name, units=tuple(thinned(unit, most) for unit in units), dropped=dropped))
        return families

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


def choice_in(trunk: Trunk, candidates: Sequence[int]) -> Choice:
    """The student at these positions of the trunk's search."""
    kept = [family.choice(number) for family, number in zip(trunk.families, candidates, strict=False)]
    return Choice(kept=tuple(itertools.chain.from_iterable(kept)), early=trunk.last is not None, side=trunk.side)


def build_library(
    units: Sequence[Unit],
    calibration: Sequence[Tensor],
    rating: Sequence[Tensor],
    *,
    ratios: Sequence[float] = RATIOS,
    dtype: torch.dtype = torch.float32,
    limit_bytes: int = 2**30,
    progress: Progress | None = None,
) -> Library:
    """Everything that ``units`` can become, from batches of images (B, C, H, W) as the teacher wants them, unlabelled.

    ``calibration``: what closed forms are computed from; ``rating``: other images, on which every candidate is
    rated alone, in ``dtype``. ``limit_bytes`` bounds the second moments that are held at a time. The same input gives
    the same bits.
    """
    progress = progress or SilentProgress()
    if len(calibration) == 1:  # one half judges what the other one says
        calibration = calibration[0].chunk(2)
    parts = _parts(units, calibration, ratios, limit_bytes, progress)
    heads = _heads(units, calibration)
    trials, keys = _trials(units, parts, heads)
    rated = dict(zip(keys, rate(units, trials, rating, dtype=dtype, progress=progress), strict=True))
    widths = tuple(
        tuple({n: rated["width", i, g, n] for n in part.options[1:]} for g, part in enumerate(cuttable))
        for i, cuttable in enumerate(parts)
    )
    return Library(
        units=tuple(units),
        parts=parts,
        widths=widths,
        drops={key[1]: found for key, found in rated.items() if key[0] == "drop"},
        exits={key[1]: found for key, found in rated.items() if key[0] == "exit"},
        heads=heads,
    )


def _parts(
    units: Sequence[Unit], calibration: Sequence[Tensor], ratios: Sequence[float], limit_bytes: int, progress: Progress
) -> tuple[tuple[Cuttable, ...], ...]:
    """All grafts, unit by unit; as many units share a pass over the images as the limit on their moments allows."""
    teacher = partial(run, [unit.module for unit in units])
    found: list[tuple[Cuttable, ...]] = []
    with progress.task("cutting channels", len(units)) as task:
        for turn in _turns(units, limit_bytes):
            groups = [(unit, group) for unit in turn for group in unit.groups if worth_cutting(unit, group)]
            layers = {read.path: unit.module.get_submodule(read.path) for unit, group in groups for read in group.read}
            moments = take_moments(teacher, layers, calibration) if layers else {}
            for unit in turn:
                options = [(group, group.options(ratios)) for group in unit.groups if worth_cutting(unit, group)]
                found.append(tuple(make_grafts(unit, g, some, moments) for g, some in options if len(some) > 1))
                task.advance()
    return tuple(found)


def _turns(units: Sequence[Unit], limit_bytes: int) -> list[list[Unit]]:
    turns: list[list[Unit]] = [[]]
    used = 0
    for unit in units:
        layers = [unit.module.get_submodule(read.path) for group in unit.groups for read in group.read]
        size = sum(moment_bytes(layer) for layer in layers)
        if turns[-1] and used + size > limit_bytes:
            turns.append([])
            used = 0
        turns[-1].append(unit)
        used += size
    return turns


@torch.no_grad()
def _heads(units: Sequence[Unit], calibration: Sequence[Tensor]) -> dict[int, PooledClassifier]:
    """Early ends behind the last unit of each block but the first and the last two."""
    blocks = [unit.block for unit in units]
    ends = [i for i in range(1, len(units) - 1) if blocks[i] != blocks[i + 1] and blocks[0] < blocks[i] < blocks[-2]]
    pooled: dict[int, list[Tensor]] = {i: [] for i in ends}
    logits = []
    for images in calibration:
        x = images
        for i, unit in enumerate(units):
            x = unit.module(x)
            if i in pooled:
                pooled[i].append(new_head(unit, 1).pooled(x))
        logits.append(x)
    return {i: fit_head(new_head(units[i], logits[0].shape[1]), pooled[i], logits) for i in ends}


def _trials(
    units: Sequence[Unit], parts: Sequence[Sequence[Cuttable]], heads: Mapping[int, PooledClassifier]
) -> tuple[list[Trial], list[tuple]]:
    trials: list[Trial] = []
    keys: list[tuple] = []
    for i, (unit, cuttable) in enumerate(zip(units, parts, strict=True)):
        for g, part in enumerate(cuttable):
            for number in part.options[1:]:
                numbers = [part.options[0] for part in cuttable]
                numbers[g] = number
                trials.append(Trial(first=i, last=i, modules=(cut_unit(unit, cuttable, numbers),)))
                keys.append(("width", i, g, number))
    for _, group in itertools.groupby(range(len(units)), key=lambda i: units[i].block):
        inside = list(group)
        free = [i for i in inside if units[i].droppable]
        for many in range(1, len(free) + 1):
            for out in itertools.combinations(free, many):
                kept = tuple(units[i].module for i in inside if i > out[0] and i not in out)
                trials.append(Trial(first=out[0], last=inside[-1], modules=kept))
                keys.append(("drop", out))
    for i, head in heads.items():
        trials.append(Trial(first=i + 1, last=len(units) - 1, modules=(head,)))
        keys.append(("exit", i))
    return trials, keys
