"""What anybody would try first: all units thinner by one share, the last units of each block left out, the end cut
off, smaller images.

They are students of the library like any other, repaired in the same way, so that the search can be held against them.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from distilnas.solve import Solution
from distilnas.solve.problem import Position
from distilnas.surgery.choose import Chosen
from distilnas.surgery.families import Kept
from distilnas.surgery.library import Choice, Library, Trunk


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """``kind``: uniform width, depth cut, truncation or lower resolution."""

    kind: str
    chosen: Chosen


def alternatives(library: Library, trunks: tuple[Trunk, ...]) -> list[Alternative]:
    """All of them; those that come to the teacher or to one that is listed are left out."""
    found: dict[Choice, Alternative] = {}
    ways = (_uniform(library), _depth_cuts(library), _truncations(library), _smaller_images(library))
    for kind, choice in itertools.chain.from_iterable(ways):
        last = len(choice.kept) - 1 if choice.early else None
        trunk = next(trunk for trunk in trunks if (trunk.last, trunk.side) == (last, choice.side))
        chosen = on_paper(trunk, choice)
        if choice != library.whole() and chosen is not None:
            found.setdefault(choice, Alternative(kind=kind, chosen=chosen))
    return list(found.values())


def on_paper(trunk: Trunk, choice: Choice) -> Chosen | None:
    """A student's summed rating and exact costs; None where the search leaves one of its options out."""
    rest = iter(choice.kept)
    found = [family.position(list(itertools.islice(rest, family.num_units))) for family in trunk.families]
    positions = [position for position in found if position is not None]
    if len(positions) < len(found):
        return None
    positions += [Position(0, 0)] if choice.early else []
    rating, costs = trunk.problem.evaluate(positions)
    solution = Solution(
        positions=tuple(positions), rating=rating, costs=costs, optimal=False, bound=-math.inf, seconds=0.0
    )
    return Chosen(choice=choice, solution=solution)


def _uniform(library: Library) -> Iterator[tuple[str, Choice]]:
    """Every group at its option number 1, number 2, ... or its last."""
    steps = max((len(part.options) for parts in library.parts for part in parts), default=1)
    for step in range(1, steps):
        kept = tuple(tuple(p.options[min(step, len(p.options) - 1)] for p in parts) for parts in library.parts)
        yield "uniform width", Choice(kept=kept)


def _depth_cuts(library: Library) -> Iterator[tuple[str, Choice]]:
    """In each block the last unit that can be left out, the last two, ..."""
    whole = library.whole().kept
    blocks = [list(group) for _, group in itertools.groupby(range(len(whole)), lambda i: library.units[i].block)]
    free = [[i for i in block if library.units[i].droppable] for block in blocks]
    for number in range(1, max(map(len, free), default=0) + 1):
        out = {i for some in free for i in some[-number:]}
        kept: tuple[Kept, ...] = tuple(None if i in out else numbers for i, numbers in enumerate(whole))
        yield "depth cut", Choice(kept=kept)


def _truncations(library: Library) -> Iterator[tuple[str, Choice]]:
    for last in sorted(library.exits):
        yield "truncation", Choice(kept=library.whole().kept[: last + 1], early=True)


def _smaller_images(library: Library) -> Iterator[tuple[str, Choice]]:
    for side in sorted(library.sides, reverse=True):
        yield "lower resolution", library.whole(side)
