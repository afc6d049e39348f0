"""The same network under other block borders: finer blocks for more of a teacher's taps, and one form to compare by.

A border between blocks is a matter of supervision, not of the network: layers, their widths and strides stay. Only the
text of an architecture and its stages' names tell where the borders are.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace

from distilnas.errors import UsageError
from distilnas.space.architecture import Architecture, Block
from distilnas.space.ops import Op
from distilnas.space.spaces import BlockSpec, CellSpec, SearchSpace

_Layer = tuple[Op, int, int]  # op, width, stride


def split_blocks(space: SearchSpace, sizes: Sequence[int]) -> SearchSpace:
    """``space`` with blocks of ``sizes`` layers, cut out of its blocks in order: the same networks in finer blocks.

    NAS-Bench-Macro's 2|3|3 layers become six blocks with sizes 1, 1, 1, 2, 1, 2; ``regroup`` turns an architecture of
    either form into the other. The first part of a block keeps its stride. Raises ``UsageError`` unless every block has
    one cell (the parts of several could be mixed to networks that the space does not hold) and the sizes add up to each
    block in turn.
    """
    for number, block in enumerate(space.blocks, start=1):
        if len(block.cells) > 1:
            raise UsageError(
                f"only blocks of one cell can be split, but block {number} of space {space.name!r} has "
                f"{len(block.cells)} (split before depths are separated)."
            )
    depths = [block.cells[0].depth for block in space.blocks]
    ends = list(itertools.accumulate(sizes))
    if min(sizes, default=0) < 1 or ends[-1] != sum(depths) or not set(ends).issuperset(itertools.accumulate(depths)):
        raise UsageError(
            f"block sizes must add up to the layers of each block of space {space.name!r} in turn, "
            f"{'|'.join(map(str, depths))}; got {'|'.join(map(str, sizes))}."
        )
    layers = [(block, index) for block in space.blocks for index in range(block.cells[0].depth)]
    starts = (layers[end - size] for end, size in zip(ends, sizes, strict=True))
    blocks = tuple(_part(block, start, size) for (block, start), size in zip(starts, sizes, strict=True))
    return replace(space, blocks=blocks)


def regroup(architecture: Architecture, sizes: Sequence[int]) -> Architecture:
    """The same network with blocks of ``sizes`` layers.

    Raises ``UsageError`` unless the sizes add up to the depth and a block's layers have one width and no stride after
    the first.
    """
    layers = _layers(architecture)
    if min(sizes, default=0) < 1 or sum(sizes) != len(layers):
        raise UsageError(f"block sizes must be from 1 and add up to {len(layers)} layers, got {list(sizes)}.")
    rest = iter(layers)
    return replace(architecture, blocks=tuple(_block(list(itertools.islice(rest, size))) for size in sizes))


def merged(architecture: Architecture) -> Architecture:
    """The same network in as few blocks as its widths and strides allow; two forms of a network are equal in it."""
    sizes: list[int] = []
    before = None
    for _, width, stride in _layers(architecture):
        if stride == 1 and width == before:
            sizes[-1] += 1
        else:
            sizes.append(1)
        before = width
    return regroup(architecture, sizes)


def op_key(architecture: Architecture, space: SearchSpace) -> str:
    """One digit a layer: the index of its op in ``space``, e.g. ``02012100``, the keys of NAS-Bench-Macro's table.

    The architecture's blocks may have other borders than the space's. Raises ``UsageError`` when the network is not of
    the space, or the space has blocks of several cells or layers of more than ten ops.
    """
    cells = [block.cells[0] for block in space.blocks]
    if any(len(block.cells) > 1 for block in space.blocks) or any(max(cell.shape) > 10 for cell in cells):
        raise UsageError(
            f"a key of one digit a layer needs one cell a block and at most ten ops a layer; {space.name!r} has more."
        )
    choice = space.choice_of(regroup(architecture, [cell.depth for cell in cells]))
    return "".join(str(op) for candidate in choice for op in candidate.path)


def _part(block: BlockSpec, start: int, size: int) -> BlockSpec:
    cell = block.cells[0]
    part = CellSpec(width=cell.width, layers=cell.layers[start : start + size])
    return BlockSpec(stride=block.stride if start == 0 else 1, cells=(part,))


def _layers(architecture: Architecture) -> list[_Layer]:
    return [
        (op, block.width, block.stride if i == 0 else 1)
        for block in architecture.blocks
        for i, op in enumerate(block.ops)
    ]


def _block(layers: Sequence[_Layer]) -> Block:
    _, width, stride = layers[0]
    if any((w, s) != (width, 1) for _, w, s in layers[1:]):
        raise UsageError(
            f"the layers of a block must have one width and no stride after the first, got "
            f"{', '.join(f'{w}/{s}' for _, w, s in layers)}; choose other block sizes."
        )
    return Block(width=width, stride=stride, ops=tuple(op for op, _, _ in layers))
