"""Rating EVERY candidate of every cell on held-out training images (DNA, section 3.3).

The tree of a cell's paths is walked depth first with one feature map per level, so that candidates share their
prefixes: 4 layers x 6 ops cost 6 + 36 + 216 + 1,296 = 1,554 op evaluations a batch instead of 4 x 1,296 = 5,184.

Batch norm uses the statistics of the batch and path at hand; no weight and no buffer changes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, islice, zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distilnas.errors import UsageError, nearest
from distilnas.methods.dna.judge import Batch, Batches, Judge
from distilnas.methods.dna.metrics import METRICS
from distilnas.methods.dna.sampling import Path
from distilnas.runtime import ranks
from distilnas.runtime.device import Device
from distilnas.runtime.progress import Progress, Task
from distilnas.supernet import SuperBlock, SuperCell, Supernet
from distilnas.tables import RatingTable, unrated
from distilnas.teachers import TeacherBlocks


@dataclass(frozen=True, kw_only=True)
class RateSettings:
    """How candidates are rated: on ``images`` held-out training images, in batches of ``batch_size``.

    ``metric``: a name in ``METRICS``. Those that begin with stitched run the rest of the teacher on every candidate's
    output, on those of several candidates at a time: at most ``stitch_batch`` images a call (memory), but at least one
    candidate's.
    """

    metric: str = "relative_l1"
    images: int = 256
    batch_size: int = 64
    stitch_batch: int = 256

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise UsageError(f"unknown rating metric {self.metric!r}; {nearest(self.metric, METRICS)}")
        if self.batch_size < 2 or self.images < 2 * self.batch_size:
            raise UsageError(
                f"rating needs at least two batches of two images, got rate.images={self.images} and "
                f"rate.batch_size={self.batch_size}; a batch gives the batch-norm statistics, two give an error bar."
            )
        if self.stitch_batch < 1:
            raise UsageError(f"rate.stitch_batch is a number of images from 1, got {self.stitch_batch}.")


@torch.no_grad()
def rate(
    supernet: Supernet,
    teacher: TeacherBlocks,
    batches: Batches,
    settings: RateSettings,
    *,
    device: Device,
    progress: Progress,
) -> RatingTable:
    """Rate all candidates. ``batches()`` gives the same batches of (images, labels) every time.

    Ranks share the batches; the table is the same for any number of them. Labels are read by ``stitched_ce`` alone.
    Raises ``UsageError`` where the teacher does not suit the metric or a rating is not finite.
    """
    supernet = device.module(supernet)  # type: ignore[assignment]
    judge = Judge(teacher, METRICS[settings.metric], batches, device)
    sizes = [len(labels) for _, labels in batches()]
    mine = range(ranks.rank(), len(sizes), ranks.world_size())
    found: list[list[list[np.ndarray]]] = []  # of my batches, blocks, cells
    with progress.task("rate", supernet.space.num_candidates * len(mine)) as task:
        for images, labels in islice(batches(), mine.start, None, mine.step):
            batch = judge.look(images, labels)
            group = max(1, settings.stitch_batch // len(images)) if judge.metric.stitched else 1
            blocks = range(len(supernet.blocks))
            found.append([rate_block(supernet, b, judge, batch, group, device, task) for b in blocks])
    scores = _by_cell(ranks.gather(found))
    head = unrated((family.shape for family in supernet.space.blocks[-1].families), len(sizes))
    table = RatingTable(
        space=supernet.space.fingerprint,
        metric=settings.metric,
        num_images=sum(sizes),
        cells=(*(tuple(map(judge.metric.summarise, block)) for block in scores), head),
        settings={
            "batch_size": settings.batch_size,
            "target_std": [spread.std for spread in judge.spreads],
            "adapters": supernet.adapters,
        },
    )
    _check_finite(table)
    return table


def _by_cell(found: list[list[list[list[np.ndarray]]]]) -> list[list[list[np.ndarray]]]:
    """From ranks, their batches, blocks, cells to blocks, cells, all batches in their order: ranks take turns."""
    batches = [batch for turn in zip_longest(*found) for batch in turn if batch is not None]
    return [[list(cell) for cell in zip(*block, strict=True)] for block in zip(*batches, strict=True)]


def rate_block(
    supernet: Supernet, b: int, judge: Judge, batch: Batch, group: int, device: Device, task: Task
) -> list[np.ndarray]:
    """For each cell (ops of layer 1, ops of layer 2, ..., B): each image's score for every path.

    ``group`` candidates are compared at a time, also across cells.
    """
    block: SuperBlock = supernet.blocks[b]  # type: ignore[assignment]
    with device.autocast():
        entered = block.entry(batch.features[b])
    outputs = (y for cell in block.cells for _, y in walk(cell, entered, device))  # type: ignore[arg-type]
    scores = []
    while members := list(islice(outputs, group)):
        scores.append(judge.scores(batch, b, members))
        task.advance(len(members), note=f"block {b + 1}")
    rows = torch.cat(scores).cpu().double().numpy()  # (candidates, B), paths in C order
    cells = supernet.space.blocks[b].families
    parts = np.split(rows, list(accumulate(cell.num_paths for cell in cells))[:-1])
    return [part.reshape(*cell.shape, -1) for part, cell in zip(parts, cells, strict=True)]


def walk(cell: SuperCell, entered: Tensor, device: Device) -> Iterator[tuple[Path, Tensor]]:
    """Every path of a cell in C order with its output, depth first, each op evaluated once per distinct prefix."""

    def below(x: Tensor, path: Path) -> Iterable[tuple[Path, Tensor]]:
        level = len(path)
        if level == cell.spec.depth:
            with device.autocast():
                y = cell.exit(x)
            yield path, y
            return
        for op in range(cell.spec.shape[level]):
            with device.autocast():
                y = cell.layer(level, op, x)
            yield from below(y, (*path, op))

    return iter(below(entered, ()))


def _check_finite(table: RatingTable) -> None:
    for b, block in enumerate(table.body):
        for c, cell in enumerate(block):
            bad = np.argwhere(~np.isfinite(cell.mean))
            if len(bad):
                path: Any = tuple(bad[0].tolist())
                raise UsageError(
                    f"the rating of block {b + 1}, cell {c + 1}, path {path} is not finite: distillation diverged "
                    "there. Lower distill.optim.lr and run in a new folder."
                )
