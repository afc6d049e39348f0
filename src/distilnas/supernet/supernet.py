"""The supernet: for every teacher block a student block with all its cells and, per layer, all its ops.

Student and teacher differ in width, so a block is framed by explicit adapters (recorded by ``Supernet.adapters``)::

    teacher feature --entry--> in_width --cell--> cell width --exit--> teacher channels

``project``: entry and exit are linear 1x1 convolutions, left out where the widths agree; one entry a block (in block 1
the stem stands in its place), one exit a cell. ``linear``: as ``project``, but every cell has its exit, also where the
widths agree; there it begins as the identity. A candidate is then rated by what the best linear map of its output
misses: what follows it in a network is linear and can learn that map. Without it a block whose layers are all left out
has nothing that could adapt. ``absorb`` (as in DNA's released code): no adapters; the first layer reads the teacher's
channels and the last layer emits them.

Batch norm has no running statistics here: those would mix all paths. Training and rating use the statistics of the
batch and path at hand, so there is nothing that rating could change.
"""

from functools import partial
from typing import Any, Literal

import torch
from timm.models._efficientnet_builder import efficientnet_init_weights
from torch import Tensor, nn

from distilnas.blocks import make_layer, make_stem
from distilnas.runtime.seeds import derive_seed
from distilnas.space import CellSpec, SearchSpace, frame_of

Adapters = Literal["project", "linear", "absorb"]
batch_norm = partial(nn.BatchNorm2d, track_running_stats=False)


class SuperCell(nn.Module):
    """All ops of a cell; one path runs at a time."""

    def __init__(self, spec: CellSpec, in_width: int, stride: int, target_channels: int, adapters: Adapters) -> None:
        super().__init__()
        self.spec = spec
        last = spec.depth - 1
        layers = []
        for index, ops in enumerate(spec.layers):
            out_width = target_channels if adapters == "absorb" and index == last else spec.width
            layer = [
                make_layer(op, in_width, out_width, stride if index == 0 else 1, norm_layer=batch_norm) for op in ops
            ]
            layers.append(nn.ModuleList(layer))
            in_width = out_width
        self.layers = nn.ModuleList(layers)
        exits = adapters == "linear" or in_width != target_channels
        self.exit = nn.Conv2d(in_width, target_channels, 1) if exits else nn.Identity()

    def layer(self, index: int, op: int, x: Tensor) -> Tensor:
        """Run one op of one layer."""
        return self.layers[index][op](x)  # type: ignore[index]

    def forward(self, x: Tensor, path: tuple[int, ...]) -> Tensor:
        """(B, in_width, H, W) -> (B, teacher channels, H / stride, W / stride) along ``path``."""
        for index, op in enumerate(path):
            x = self.layer(index, op, x)
        return self.exit(x)


class SuperBlock(nn.Module):
    """One student block: entry and cells."""

    def __init__(self, entry: nn.Module, cells: list[SuperCell]) -> None:
        super().__init__()
        self.entry = entry
        self.cells = nn.ModuleList(cells)


class Supernet(nn.Module):
    """Student blocks beside the teacher's: ``blocks[i]`` maps teacher feature i to an imitation of feature i + 1."""

    def __init__(self, space: SearchSpace, blocks: list[SuperBlock], adapters: list[dict[str, Any]]) -> None:
        super().__init__()
        self.space = space
        self.blocks = nn.ModuleList(blocks)
        self.adapters = adapters

    def imitate(self, images: Tensor, candidates: list[tuple[int, tuple[int, ...]]]) -> list[Tensor]:
        """Run candidates (cell, path) one after the other from the images on: the assembled path of a whole network."""
        features = []
        x = images
        for block, (cell, path) in zip(self.blocks, candidates, strict=True):
            x = block.cells[cell](block.entry(x), path)  # type: ignore[union-attr,index]
            features.append(x)
        return features


def build_supernet(
    space: SearchSpace, channels: tuple[int, ...], *, adapters: Adapters, seed: int, in_chans: int = 3
) -> Supernet:
    """The supernet of ``space`` for a teacher whose blocks emit ``channels``.

    Each block is initialised from a seed of its own, so that a block trained alone equals the same block trained with
    all.
    """
    blocks, record = [], []
    for index, spec in enumerate(space.body):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, index))
            entry, in_width = _entry(space, index, channels, adapters, in_chans)
            cells = [
                SuperCell(cell, in_width, cell.first_stride(spec.stride), channels[index], adapters)
                for cell in spec.cells
            ]
            block = SuperBlock(entry, cells)
            efficientnet_init_weights(block)
            _start_exits(cells)
        blocks.append(block)
        record.append(
            {
                "block": index,
                "entry": [in_chans if index == 0 else channels[index - 1], in_width],
                "exits": [[cell.spec.width, channels[index]] for cell in cells],
                "kind": adapters,
            }
        )
    return Supernet(space, blocks, record)


def _start_exits(cells: list[SuperCell]) -> None:
    """Zero, or the identity between equal widths: from random weights Adam needs hundreds of steps to the loss of a
    constant."""
    for cell in cells:
        if isinstance(cell.exit, nn.Conv2d):
            equal = cell.exit.in_channels == cell.exit.out_channels
            nn.init.dirac_(cell.exit.weight) if equal else nn.init.zeros_(cell.exit.weight)


def _entry(
    space: SearchSpace, index: int, channels: tuple[int, ...], adapters: Adapters, in_chans: int
) -> tuple[nn.Module, int]:
    """Entry module of a block and the width it hands to the cells."""
    if index == 0:
        stem, _ = frame_of(space, "the supernet")
        return make_stem(stem, in_chans, norm_layer=batch_norm), stem.out_width
    width = channels[index - 1] if adapters == "absorb" else max(space.in_widths(index))
    if width == channels[index - 1]:
        return nn.Identity(), width
    return nn.Conv2d(channels[index - 1], width, 1, bias=False), width
