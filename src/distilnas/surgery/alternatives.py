"""What anybody would try first: all units thinner by one share, the last units of each block left out, the end cut off.

They are students of the library like any other, repaired in the same way, so that the search can be held against them.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from distilnas.solve import Solution
from distilnas.solve.problem import Position
from distilnas.surgery.choose import Chosen
from distilnas.surgery.library import Choice, Library, Numbers, Trunk


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """``kind``: uniform width, depth cut or truncation."""

    kind: str
    chosen: Chosen


def alternatives(library: Library, trunks: tuple[Trunk, ...]) -> list[Alternative]:
    """All of them; those that come to the teacher or to one that is listed are left out."""
    found: dict[Choice, Alternative] = {}
    for kind, choice in (*_uniform(library), *_depth_cuts(library), *_truncations(library)):
        trunk = trunks[0] if not choice.early else next(t for t in trunks if t.last == len(choice.kept) - 1)
        chosen = on_paper(trunk, choice)
        if choice != library.whole() and chosen is not None:
            found.setdefault(choice, Alternative(kind=kind, chosen=chosen))
    return list(found.values())


def on_paper(trunk: Trunk, choice: Choice) -> Chosen | None:
    """A student's summed rating and exact costs; None where the search leaves one of its options out."""
    rest = iter(choice.kept)
    positions = []
    for family in trunk.families:
        try:
            candidate = family.candidate(list(itertools.islice(rest, len(family.units))))
        except ValueError:
            return None
        positions.append(Position(0, candidate))
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
        kept: tuple[Numbers, ...] = tuple(None if i in out else numbers for i, numbers in enumerate(whole))
        yield "depth cut", Choice(kept=kept)


def _truncations(library: Library) -> Iterator[tuple[str, Choice]]:
    for last in sorted(library.exits):
        yield "truncation", Choice(kept=library.whole().kept[: last + 1], early=True)
