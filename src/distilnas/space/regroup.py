"""The same network under other block borders: finer blocks for more of a teacher's taps, and one form to compare by.

A border between blocks is a matter of supervision, not of the network: layers, their widths and strides stay. Only the
text of an architecture and its stages' names tell where the borders are.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

from distilnas.errors import UsageError
from distilnas.space.architecture import Architecture, Layered
from distilnas.space.families import Cell, FixedLayer
from distilnas.space.spaces import BlockSpec, SearchSpace


def split_blocks(space: SearchSpace, sizes: Sequence[int]) -> SearchSpace:
    """``space`` with blocks of ``sizes`` layers, cut out of its blocks in order: the same networks in finer blocks.

    NAS-Bench-Macro's 2|3|3 layers become six blocks with sizes 1, 1, 1, 2, 1, 2; ``regroup`` turns an architecture of
    either form into the other. The first part of a block keeps its stride. Raises ``UsageError`` unless every block has
    one cell (the parts of several could be mixed to networks that the space does not hold) and the sizes add up to each
    block in turn.
    """
    for number, block in enumerate(space.body, start=1):
        if len(block.cells) > 1:
            raise UsageError(
                f"only blocks of one cell can be split, but block {number} of space {space.name!r} has "
                f"{len(block.cells)} (split before depths are separated)."
            )
    depths = [block.cells[0].depth for block in space.body]
    ends = list(itertools.accumulate(sizes))
    if min(sizes, default=0) < 1 or ends[-1] != sum(depths) or not set(ends).issuperset(itertools.accumulate(depths)):
        raise UsageError(
            f"block sizes must add up to the layers of each block of space {space.name!r} in turn, "
            f"{'|'.join(map(str, depths))}; got {'|'.join(map(str, sizes))}."
        )
    layers = [(block, index) for block in space.body for index in range(block.cells[0].depth)]
    starts = (layers[end - size] for end, size in zip(ends, sizes, strict=True))
    blocks = tuple(_part(block, start, size) for (block, start), size in zip(starts, sizes, strict=True))
    return replace(space, blocks=(*blocks, space.blocks[-1]))


def regroup(architecture: Architecture, sizes: Sequence[int]) -> Architecture:
    """The same network with blocks of ``sizes`` layers.

    Raises ``UsageError`` unless the sizes add up to the depth and a block's layers have one width and no stride after
    the first.
    """
    parts = Layered.of(architecture)
    layers = _layers(parts)
    if min(sizes, default=0) < 1 or sum(sizes) != len(layers):
        raise UsageError(f"block sizes must be from 1 and add up to {len(layers)} layers, got {list(sizes)}.")
    rest = iter(layers)
    return replace(parts, cells=tuple(_cell(list(itertools.islice(rest, size))) for size in sizes)).architecture()


def merged(architecture: Architecture) -> Architecture:
    """The same network in as few blocks as its widths and strides allow; two forms of a network are equal in it."""
    sizes: list[int] = []
    before = None
    for layer in _layers(Layered.of(architecture)):
        if layer.stride == 1 and layer.width == before:
            sizes[-1] += 1
        else:
            sizes.append(1)
        before = layer.width
    return regroup(architecture, sizes)


def op_key(architecture: Architecture, space: SearchSpace) -> str:
    """One digit a layer: the index of its op in ``space``, e.g. ``02012100``, the keys of NAS-Bench-Macro's table.

    The architecture's blocks may have other borders than the space's. Raises ``UsageError`` when the network is not of
    the space, or the space has blocks of several cells or layers of more than ten ops.
    """
    cells = [block.cells[0] for block in space.body]
    if any(len(block.cells) > 1 for block in space.body) or any(max(cell.shape) > 10 for cell in cells):
        raise UsageError(
            f"a key of one digit a layer needs one cell a block and at most ten ops a layer; {space.name!r} has more."
        )
    choice = space.choice_of(regroup(architecture, [cell.depth for cell in cells]))
    return "".join(str(op) for candidate in choice for op in candidate.path)


def _part(block: BlockSpec, start: int, size: int) -> BlockSpec:
    cell = block.cells[0]
    part = replace(cell, layers=cell.layers[start : start + size])
    if start:
        return BlockSpec(stride=1, families=(part.without_stem(),))
    return BlockSpec(stride=block.stride, families=(part,))


def _layers(parts: Layered) -> list[FixedLayer]:
    return [layer for cell in parts.cells for layer in cell.layers]


def _cell(layers: Sequence[FixedLayer]) -> Cell:
    first, *rest = layers
    if any((x.width, x.stride) != (first.width, 1) for x in rest):
        raise UsageError(
            f"the layers of a block must have one width and no stride after the first, got "
            f"{', '.join(f'{x.width}/{x.stride}' for x in layers)}; choose other block sizes."
        )
    return Cell(width=first.width, stride=first.stride, ops=tuple(layer.op for layer in layers))
