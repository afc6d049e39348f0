"""Ratings of the same layers cut into blocks in two ways, added up.

A block's rating is wrong in a way that its borders cause: what layers in different blocks do for each other is not
seen, and layers of one block hide each other. Sums over two cuts are wrong in fewer places (docs/results/ranking.md).
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from distilnas.errors import UsageError
from distilnas.space import Candidate, Choice, SearchSpace
from distilnas.space.regroup import regroup
from distilnas.tables.ratings import CellRatings, RatingTable


def with_finer(table: RatingTable, space: SearchSpace, finer: RatingTable, finer_space: SearchSpace) -> RatingTable:
    """``table`` with the ratings that ``finer`` gives the same layers added to those of each candidate.

    The sum of the result over an architecture is the sum of both tables, so that the solver stays exact. Errors are
    added as of independent ratings. Raises ``UsageError`` for tables of other spaces or of two metrics, for unequal
    numbers of batches (a table from CSV has none, and then neither has the result), and unless each block of ``space``
    is made of whole blocks of ``finer_space`` whose cells have one depth.
    """
    table.check(space)
    finer.check(finer_space)
    if table.metric != finer.metric:
        raise UsageError(f"ratings of one metric can be added, got {table.metric!r} and {finer.metric!r}.")
    parts = _parts(space, finer_space)
    sizes = [block.cells[0].depth for block in finer_space.body]
    first = tuple(Candidate(cell=0, path=(0,) * len(block.families[0].shape)) for block in space.blocks)
    blocks = []
    for b, (block, part) in enumerate(zip(space.body, parts, strict=True)):
        cells = []
        for c, cell in enumerate(block.cells):
            added = {}
            for path in itertools.product(*map(range, cell.shape)):
                choice: Choice = (*first[:b], Candidate(cell=c, path=path), *first[b + 1 :])
                fine = finer_space.choice_of(regroup(space.architecture(choice), sizes))
                added[path] = [(f, fine[f]) for f in part]
            cells.append(_sum(table.cells[b][c], added, finer))
        blocks.append(tuple(cells))
    settings = table.settings | {"with_finer": finer.settings | {"blocks": len(finer.body)}}
    return replace(table, cells=(*blocks, table.cells[-1]), settings=settings)


def _parts(space: SearchSpace, finer: SearchSpace) -> list[range]:
    """The finer blocks that each block is made of."""
    ends, finer_ends = _ends(space), _ends(finer)
    if not set(finer_ends).issuperset(ends) or ends[-1] != finer_ends[-1]:
        raise UsageError(
            f"every block of space {space.name!r} must be made of whole blocks of {finer.name!r}; they end after "
            f"layers {', '.join(map(str, ends))} and {', '.join(map(str, finer_ends))}."
        )
    borders = [0, *(finer_ends.index(end) + 1 for end in ends)]
    return [range(*pair) for pair in itertools.pairwise(borders)]


def _ends(space: SearchSpace) -> list[int]:
    """After how many layers each block ends."""
    depths = [{cell.depth for cell in block.cells} for block in space.body]
    for number, found in enumerate(depths, start=1):
        if len(found) > 1:
            raise UsageError(
                f"ratings of two cuts need blocks of one depth; block {number} of space {space.name!r} has cells of "
                f"{', '.join(map(str, sorted(found)))} layers."
            )
    return list(itertools.accumulate(min(found) for found in depths))


def _sum(
    cell: CellRatings, added: dict[tuple[int, ...], Sequence[tuple[int, Candidate]]], finer: RatingTable
) -> CellRatings:
    number, other = len(cell.batches), len(finer.cells[0][0].batches)
    if number and other and number != other:
        raise UsageError(
            f"the two tables were rated on {number} and {other} batches; rate both on the same images in batches of "
            "one size."
        )
    mean, variance, batches = cell.mean.copy(), np.square(cell.stderr), cell.batches[: min(number, other)].copy()
    for path, candidates in added.items():
        for block, candidate in candidates:
            rated = finer.cells[block][candidate.cell]
            mean[path] += rated.mean[candidate.path]
            variance[path] += rated.stderr[candidate.path] ** 2
            batches[:, *path] += rated.batches[: len(batches), *candidate.path]
    return CellRatings(mean=mean, stderr=np.sqrt(variance), batches=batches)
