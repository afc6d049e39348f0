"""What of a library is measured: each unit in some of its forms, and whole networks that tell how the parts add up.

Of a unit with one group of channels all forms are measured. With several groups those are that cut one group alone,
and the one that cuts all as far as it goes; the others are worked out (``UnitTimes``). For images of other sides each
unit is measured as it is and cut as far as it goes.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from distilnas.latency.pieces import Piece, make_piece
from distilnas.latency.settings import LatencySettings
from distilnas.runtime.progress import Progress, SilentProgress
from distilnas.surgery.cut import cut
from distilnas.surgery.families import Kept
from distilnas.surgery.library import Choice, Library, own_units
from distilnas.surgery.sides import at_side

_RANDOM = 4  # whole networks drawn at random
_LEFT_OUT = 0.3  # of the units that can be, in these


@dataclass(frozen=True, kw_only=True, eq=False)
class Design:
    """``forms[unit]``: what is kept of each group, all first; ``sides``: other sides of the images in pixels;
    ``heads``: the units before early ends; ``wholes``: the teacher first."""

    forms: tuple[tuple[tuple[int, ...], ...], ...]
    sides: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    wholes: tuple[Choice, ...]

    @property
    def rows(self) -> list[tuple[int | None, list[int]]]:
        """Side, and each unit's form by its place: networks that together have all that is to be measured."""
        number = max(map(len, self.forms))
        found: list[tuple[int | None, list[int]]] = [
            (None, [at if at < len(forms) else 0 for forms in self.forms]) for at in range(number)
        ]
        for side in self.sides:
            found += [(side, [0] * len(self.forms)), (side, [len(forms) - 1 for forms in self.forms])]
        return found


def design_of(library: Library) -> Design:
    """Every candidate of the library in few measurements."""
    forms = tuple(tuple(_forms([part.options for part in parts])) for parts in library.parts)
    wholes = dict.fromkeys([library.whole(), *_wholes(library)])
    sides = tuple(sorted(library.sides, reverse=True))
    return Design(forms=forms, sides=sides, heads=tuple(sorted(library.exits)), wholes=tuple(wholes))


def design_key(library: Library, design: Design) -> str:
    """Tells libraries apart that are measured differently."""
    units = [(unit.name, unit.in_shape, unit.out_shape) for unit in library.units]
    kept = [(choice.kept, choice.early, choice.side) for choice in design.wholes]
    told = (units, design.forms, design.sides, kept, design.heads)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:24]


def structure(library: Library, choice: Choice) -> nn.Module:
    """A network as large as the choice's student, its weights without meaning."""
    modules = [_cut_copy(library, i, numbers) for i, numbers in own_units(choice)]
    return nn.Sequential(*modules, *([library.heads[len(choice.kept) - 1].cpu()] if choice.early else [])).eval()


def rows_of(
    library: Library, design: Design, settings: LatencySettings, progress: Progress | None = None
) -> list[list[Piece]]:
    """The pieces of all rows of the design, then the heads of early ends, then each whole network, in rows alone."""
    total = len(design.rows) + len(design.heads) + len(design.wholes)
    shaped = {side: at_side(library.units, side) for side in (None, *design.sides)}
    made: dict[tuple[int | None, int, int], Piece] = {}
    rows: list[list[Piece]] = []
    with (progress or SilentProgress()).task("writing pieces", total) as task:
        for side, forms in design.rows:
            for i, at in enumerate(forms):
                if (side, i, at) not in made:
                    unit, form = shaped[side][i], design.forms[i][at]
                    name = f"{unit.name} {'-'.join(map(str, form))}"
                    made[side, i, at] = make_piece(name, _cut_copy(library, i, form), unit.in_shape, settings)
            rows.append([made[side, i, at] for i, at in enumerate(forms)])
            task.advance()
        for last in design.heads:
            unit = library.units[last]
            rows.append([make_piece(f"end after {unit.name}", library.heads[last].cpu(), unit.out_shape, settings)])
            task.advance()
        for choice in design.wholes:
            rows.append([whole_piece(library, choice, settings)])
            task.advance()
    return rows


def whole_piece(library: Library, choice: Choice, settings: LatencySettings) -> Piece:
    """The choice's student as a piece."""
    channels, *sides = library.units[0].in_shape
    side = [choice.side] * 2 if choice.side else sides
    return make_piece("a student", structure(library, choice), (channels, *side), settings)


def _cut_copy(library: Library, i: int, numbers: Sequence[int]) -> nn.Module:
    module = library.units[i].copy().cpu()
    for part, number in zip(library.parts[i], numbers, strict=True):
        cut(module, part.group, range(number))
    return module


def _forms(options: Sequence[Sequence[int]]) -> Iterator[tuple[int, ...]]:
    full = tuple(some[0] for some in options)
    yield full
    for g, some in enumerate(options):
        for number in some[1:]:
            yield (*full[:g], number, *full[g + 1 :])
    if sum(len(some) > 1 for some in options) > 1:
        yield tuple(some[-1] for some in options)


def _wholes(library: Library) -> Iterator[Choice]:
    """One width for all, units left out evenly, some at random, early ends, and other sides."""
    whole, random = library.whole().kept, np.random.default_rng(0)
    free = [i for i, unit in enumerate(library.units) if unit.droppable]
    least = tuple(tuple(part.options[-1] for part in parts) for parts in library.parts)
    middle = tuple(tuple(part.options[len(part.options) // 2] for part in parts) for parts in library.parts)
    for base, out in itertools.product((whole, middle, least), ((), free[::2])):
        yield Choice(kept=_without(base, out))
    yield Choice(kept=_without(least, free))
    for _ in range(_RANDOM):
        kept = tuple(tuple(int(random.choice(part.options)) for part in parts) for parts in library.parts)
        yield Choice(kept=_without(kept, [i for i in free if random.random() < _LEFT_OUT]))
    ends = sorted(library.exits)
    for last in dict.fromkeys([*ends[len(ends) // 2 :][:1], *ends[-1:]]):
        yield Choice(kept=whole[: last + 1], early=True)
    for side in library.sides:
        yield Choice(kept=whole, side=side)
        yield Choice(kept=middle, side=side)


def _without(kept: tuple[Kept, ...], out: Sequence[int]) -> tuple[Kept, ...]:
    return tuple(None if i in out else numbers for i, numbers in enumerate(kept))
