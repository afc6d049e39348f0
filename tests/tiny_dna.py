"""A teacher of two blocks on 16-pixel images and spaces to match: small enough to check everything by hand."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from killing import Killed
from torch import Tensor, nn

from distilnas.runtime.device import Device
from distilnas.runtime.progress import SilentProgress
from distilnas.space import BlockSpec, CellSpec, Head, MBConv, Op, SearchSpace, Stem, space_of_cells
from distilnas.supernet import Supernet, build_supernet
from distilnas.teachers import TeacherBlocks, propose
from distilnas.training import Loop

SIZE = 16
CHANNELS = (6, 10)
DEVICE = Device("cpu")
OPS: tuple[Op, ...] = tuple(MBConv(kernel=k, expansion=e, act="relu") for k in (1, 3) for e in (1, 2, 3))
Pairs = list[tuple[Tensor, Tensor]]


def tiny_teacher() -> TeacherBlocks:
    """Image 16x16 -> (6, 8, 8) -> (10, 4, 4)."""
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.Tanh()) for i, o in ((3, 6), (6, 10))]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 2))
    model = nn.Sequential(*blocks, *head)
    return TeacherBlocks(model, propose(model, SIZE, ["0", "1"]))


def tiny_space(depth: int = 2, ops: tuple[Op, ...] = OPS[2:5], blocks: int = 2) -> SearchSpace:
    """Per block a cell of width 4 and ``depth`` and one of width 8 and depth 1."""
    cells = (CellSpec(width=4, layers=(ops,) * depth), CellSpec(width=8, layers=(ops[:2],)))
    searched = (BlockSpec(stride=1, families=cells), BlockSpec(stride=2, families=cells))[:blocks]
    return space_of_cells(name="tiny", stem=Stem(width=4, act="relu"), blocks=searched, head=Head(width=8, act="relu"))


def tiny_supernet(space: SearchSpace | None = None, *, trained: bool = False) -> Supernet:
    """The supernet of ``space``; ``trained``: with random exits in place of those that start at zero."""
    space = space or tiny_space()
    supernet = build_supernet(space, CHANNELS[: len(space.body)], adapters="project", seed=1)
    if trained:
        generator = torch.Generator().manual_seed(2)
        for block in supernet.blocks:
            for cell in block.cells:  # type: ignore[union-attr]
                cell.exit.weight.data.normal_(std=0.3, generator=generator)
    return supernet


def some_batches(number: int = 3, size: int = 4, seed: int = 5) -> Pairs:
    """Batches of random images with labels that nobody reads."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(size, dtype=torch.int64)
    return [(torch.randn(size, 3, SIZE, SIZE, generator=generator), labels) for _ in range(number)]


def tiny_loop(checkpoint: Path, epochs: int = 2, killed_after: int | None = None, **changes: Any) -> Loop:
    """A loop over ``some_batches`` of every epoch; the process dies when batch ``killed_after`` is asked for."""
    asked = 0

    def batches(epoch: int, start: int) -> Iterable[tuple[Tensor, Tensor]]:
        nonlocal asked
        for pair in some_batches(seed=10 + epoch)[start:]:
            if asked == killed_after:
                raise Killed
            asked += 1
            yield pair

    settings: dict[str, Any] = {"name": "distill", "steps_per_epoch": 3, "progress": SilentProgress()} | changes
    return Loop(epochs=epochs, batches=batches, checkpoint=checkpoint, **settings)


def repeatable(pairs: Pairs) -> Callable[[], Pairs]:
    """``pairs`` every time."""
    return lambda: pairs
