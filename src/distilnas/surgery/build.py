"""Everything that a teacher can become: cut, fitted and rated, one by one."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import torch
from torch import Tensor, nn

from distilnas.networks.new_parts import MappedPart, PooledClassifier
from distilnas.runtime.progress import Progress, SilentProgress
from distilnas.surgery.chain import Unit, run
from distilnas.surgery.exits import fit_head, new_head
from distilnas.surgery.grafts import Cuttable, cut_unit, make_grafts, worth_cutting
from distilnas.surgery.library import Library, Place, Replacement
from distilnas.surgery.linear import LINEAR, PartFit, fit_bytes, linear_spans, new_linear
from distilnas.surgery.moments import moment_bytes, take_moments
from distilnas.surgery.rate import Trial, rate

RATIOS = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125)
Item = TypeVar("Item")


def build_library(
    units: Sequence[Unit],
    calibration: Sequence[Tensor],
    rating: Sequence[Tensor],
    *,
    ratios: Sequence[float] = RATIOS,
    dtype: torch.dtype = torch.float32,
    linear: bool = False,
    cells: Mapping[Place, MappedPart] = MappingProxyType({}),
    limit_bytes: int = 2**30,
    progress: Progress | None = None,
) -> Library:
    """Everything that ``units`` can become, from batches of images (B, C, H, W) as the teacher wants them, unlabelled.

    ``calibration``: what closed forms are computed from; ``rating``: other images, on which every candidate is
    rated alone, in ``dtype``. ``linear``: whether linear maps may take the place of units. ``cells``: trained modules
    in the place of units, whose maps are fitted here. ``limit_bytes`` bounds the second moments that are held at a
    time. The same input gives the same bits.
    """
    progress = progress or SilentProgress()
    if len(calibration) == 1:  # one half judges what the other one says
        calibration = calibration[0].chunk(2)
    parts = _parts(units, calibration, ratios, limit_bytes, progress)
    maps = {Place(*span, LINEAR): new_linear(units[span[0]], units[span[1]]) for span in linear_spans(units) if linear}
    heads, new = _new_parts(units, calibration, {**maps, **cells}, limit_bytes)
    trials, keys = _trials(units, parts, heads, new)
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
        replacements={place: Replacement(module=module, rating=rated["new", place]) for place, module in new.items()},
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
    def size(unit: Unit) -> int:
        layers = [unit.module.get_submodule(read.path) for group in unit.groups for read in group.read]
        return sum(moment_bytes(layer) for layer in layers)

    return _within(units, size, limit_bytes)


def _within(items: Sequence[Item], size: Callable[[Item], int], limit: int) -> list[list[Item]]:
    """``items`` in their order, in runs whose sizes add up to no more than ``limit``, or of one item."""
    turns: list[list[Item]] = [[]]
    used = 0
    for item in items:
        if turns[-1] and used + size(item) > limit:
            turns.append([])
            used = 0
        turns[-1].append(item)
        used += size(item)
    return turns


@torch.no_grad()
def _new_parts(
    units: Sequence[Unit], calibration: Sequence[Tensor], new: Mapping[Place, MappedPart], limit_bytes: int
) -> tuple[dict[int, PooledClassifier], dict[Place, MappedPart]]:
    """Early ends behind the last unit of each block but the first and the last two, and the ``new`` parts, all fitted
    to what the teacher does; as many maps in a pass over the images as the limit allows."""
    blocks = [unit.block for unit in units]
    ends = [i for i in range(1, len(units) - 1) if blocks[i] != blocks[i + 1] and blocks[0] < blocks[i] < blocks[-2]]
    pooled: dict[int, list[Tensor]] = {i: [] for i in ends}
    logits: list[Tensor] = []
    for turn in _within(list(new), lambda place: fit_bytes(new[place]), limit_bytes):
        first_pass = not logits
        fits = {place: PartFit(new[place], sum(map(len, calibration))) for place in turn}
        for images in calibration:
            for i, held, x in _features(units, images):
                for place, fit in fits.items():
                    if place.last == i:
                        fit.add(held[place.first], x)
                if first_pass and i in pooled:
                    pooled[i].append(new_head(units[i], 1).pooled(x))
            if first_pass:
                logits.append(x)
        for fit in fits.values():
            fit.fitted()
    heads = {i: fit_head(new_head(units[i], logits[0].shape[1]), pooled[i], logits) for i in ends}
    return heads, {place: module.to(calibration[0].device) for place, module in new.items()}


def _features(units: Sequence[Unit], images: Tensor) -> Iterator[tuple[int, dict[int, Tensor], Tensor]]:
    """Each unit's number, what the units of its block up to it read, by number, and what it gives out."""
    x, held = images, dict[int, Tensor]()
    for i, unit in enumerate(units):
        if i and unit.block != units[i - 1].block:
            held.clear()
        held[i] = x
        x = unit.module(x)
        yield i, held, x


def _trials(
    units: Sequence[Unit],
    parts: Sequence[Sequence[Cuttable]],
    heads: Mapping[int, PooledClassifier],
    new: Mapping[Place, nn.Module],
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
    for place, module in new.items():
        trials.append(Trial(first=place.first, last=place.last, modules=(module,)))
        keys.append(("new", place))
    for i, head in heads.items():
        trials.append(Trial(first=i + 1, last=len(units) - 1, modules=(head,)))
        keys.append(("exit", i))
    return trials, keys
