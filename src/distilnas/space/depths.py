"""Depth alternatives as cells of their own: no weights are shared between paths that skip different layers."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

from distilnas.space.families import CellSpec
from distilnas.space.ops import Op
from distilnas.space.spaces import BlockSpec, SearchSpace


def separate_depths(space: SearchSpace) -> SearchSpace:
    """The same networks, with a cell for every identity pattern of a cell.

    A layer that offers the identity beside other ops offers in a pattern either the identity alone or the others alone,
    so a cell with n such layers becomes 2^n cells, each with weights of its own in a supernet; ops other than the
    identity still share theirs. Layers stay where they are, so ``architecture`` gives the same networks, and
    ``separate_depths(space).choice_of(space.architecture(choice))`` is the new form of a choice. That maps candidates
    one to one, unless two cells of a block have a path in common and a pattern of both comes out equal: it is kept
    once. A space without such layers stays as it is.
    """
    body = tuple(_separate(block) for block in space.body)
    return replace(space, blocks=(*body, space.blocks[-1]))


def _separate(block: BlockSpec) -> BlockSpec:
    cells = itertools.chain.from_iterable(map(_patterns, block.cells))
    return replace(block, families=tuple(dict.fromkeys(cells)))


def _patterns(cell: CellSpec) -> Iterator[CellSpec]:
    for layers in itertools.product(*map(_alternatives, cell.layers)):
        yield replace(cell, layers=layers)


def _alternatives(ops: tuple[Op, ...]) -> list[tuple[Op, ...]]:
    identity = tuple(op for op in ops if op.identity)
    others = tuple(op for op in ops if not op.identity)
    return [part for part in (identity, others) if part]
