"""Rating EVERY candidate of every cell on held-out training images (DNA, section 3.3).

The tree of a cell's paths is walked depth first with one feature map per level, so that candidates share their
prefixes: 4 layers x 6 ops cost 6 + 36 + 216 + 1,296 = 1,554 op evaluations a batch instead of 4 x 1,296 = 5,184.

Batch norm uses the statistics of the batch and path at hand; no weight and no buffer changes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distilnas.errors import UsageError, nearest
from distilnas.methods.dna.sampling import Path
from distilnas.runtime.device import Device
from distilnas.runtime.progress import Progress
from distilnas.supernet import SuperCell, Supernet
from distilnas.tables import CellRatings, RatingTable
from distilnas.teachers import TeacherBlocks

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
Metric = Callable[[Tensor, Tensor, float], Tensor]
_ROUNDING = 1e-12  # of the mean square: a float32 feature with less variance varies by rounding only


def relative_l1(output: Tensor, target: Tensor, std: float) -> Tensor:
    """(B,) mean |Y - S| per image over the standard deviation of Y on all rating images (DNA, equation 9)."""
    return (output - target).abs().flatten(1).mean(1) / std


def relative_mse(output: Tensor, target: Tensor, std: float) -> Tensor:
    """(B,) mean squared error per image over the variance of Y on all rating images."""
    return (output - target).square().flatten(1).mean(1) / std**2


METRICS: dict[str, Metric] = {"relative_l1": relative_l1, "relative_mse": relative_mse}


@dataclass(frozen=True, kw_only=True)
class RateSettings:
    """How candidates are rated: on ``images`` held-out training images, in batches of ``batch_size``."""

    metric: str = "relative_l1"
    images: int = 256
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise UsageError(f"unknown rating metric {self.metric!r}; {nearest(self.metric, METRICS)}")
        if self.batch_size < 2 or self.images < 2 * self.batch_size:
            raise UsageError(
                f"rating needs at least two batches of two images, got rate.images={self.images} and "
                f"rate.batch_size={self.batch_size}; a batch gives the batch-norm statistics, two give an error bar."
            )


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
    """Rate all candidates. ``batches()`` gives the same batches of (images, labels) every time; labels are not used."""
    supernet = device.module(supernet)  # type: ignore[assignment]
    sizes = [len(labels) for _, labels in batches()]
    stds = target_stds(teacher, batches, device)
    metric = METRICS[settings.metric]
    scores: list[list[list[np.ndarray]]] = [[[] for _ in block.cells] for block in supernet.space.blocks]
    total = supernet.space.num_candidates * len(sizes)
    with progress.task("rate", total) as task:
        for images, _ in batches():
            with device.autocast():
                features = teacher.features(device.images(images))
            for b, block in enumerate(supernet.blocks):
                with device.autocast():
                    entered = block.entry(features[b])  # type: ignore[operator]
                for c, cell in enumerate(block.cells):  # type: ignore[arg-type]
                    scores[b][c].append(_rate_cell(cell, entered, features[b + 1], stds[b], metric, device))
                    task.advance(cell.spec.num_paths, note=f"block {b + 1}")
    table = RatingTable(
        space=supernet.space.fingerprint,
        metric=settings.metric,
        num_images=sum(sizes),
        cells=tuple(tuple(_summarise(cell) for cell in block) for block in scores),
        settings={"batch_size": settings.batch_size, "target_std": stds, "adapters": supernet.adapters},
    )
    _check_finite(table)
    return table


def _rate_cell(
    cell: SuperCell, entered: Tensor, target: Tensor, std: float, metric: Metric, device: Device
) -> np.ndarray:
    """(ops of layer 1, ops of layer 2, ..., B): each image's score for every path of a cell."""
    scores = np.empty((*cell.spec.shape, len(target)), dtype=np.float64)
    for path, output in walk(cell, entered, device):
        scores[path] = metric(output.float(), target, std).double().cpu().numpy()
    return scores


def walk(cell: SuperCell, entered: Tensor, device: Device) -> Iterable[tuple[Path, Tensor]]:
    """Every path of a cell with its output, depth first, each op evaluated once per distinct prefix."""

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

    return below(entered, ())


@torch.no_grad()
def target_stds(teacher: TeacherBlocks, batches: Batches, device: Device) -> list[float]:
    """Standard deviation of each teacher feature over all rating images, pixels and channels.

    Raises ``UsageError`` where a feature is not finite, or constant up to rounding.
    """
    moments: dict[int, list[float]] = {}
    for images, _ in batches():
        with device.autocast():
            features = teacher.features(device.images(images))[1:]
        for b, y in enumerate(features):
            y = y.double()
            n, total, squares = moments.get(b, [0.0, 0.0, 0.0])
            moments[b] = [n + y.numel(), total + float(y.sum()), squares + float(y.square().sum())]
    return [_std(f"the teacher's feature after block {b + 1}", *moments[b]) for b in sorted(moments)]


def _std(what: str, n: float, total: float, squares: float) -> float:
    variance = squares / n - (total / n) ** 2
    if not np.isfinite(variance):
        raise UsageError(f"{what} is not finite on the rating images: check the teacher's weights and preprocessing.")
    if variance <= _ROUNDING * squares / n:
        raise UsageError(f"{what} is constant on the rating images: nothing to imitate. Choose other blocks.")
    return float(np.sqrt(variance))


def _summarise(batches: list[np.ndarray]) -> CellRatings:
    """Per-image scores of each batch -> mean, standard error over images, mean per batch."""
    images = np.concatenate(batches, axis=-1)
    return CellRatings(
        mean=images.mean(-1),
        stderr=images.std(-1, ddof=1) / np.sqrt(images.shape[-1]),
        batches=np.stack([batch.mean(-1) for batch in batches]),
    )


def _check_finite(table: RatingTable) -> None:
    for b, block in enumerate(table.cells):
        for c, cell in enumerate(block):
            bad = np.argwhere(~np.isfinite(cell.mean))
            if len(bad):
                path: Any = tuple(bad[0].tolist())
                raise UsageError(
                    f"the rating of block {b + 1}, cell {c + 1}, path {path} is not finite: distillation diverged "
                    "there. Lower distill.optim.lr and run in a new folder."
                )
