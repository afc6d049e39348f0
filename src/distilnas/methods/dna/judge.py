"""Outputs of student blocks compared with the teacher: with its feature, or stitched into it with its logits."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from distilnas.errors import UsageError
from distilnas.methods.dna.metrics import Metric, Reference, Spread
from distilnas.runtime.device import Device
from distilnas.teachers import TeacherBlocks

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
_ROUNDING = 1e-12  # of the mean square: a float32 feature with less variance varies by rounding only
_SAME = 1e-6  # relative difference of two runs of the same arithmetic


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """A batch of rating images with the teacher's part: its features [Y_0, ..., Y_N] and what outputs aim at.

    There is a reference for each block, or for stitched metrics a single one.
    """

    images: Tensor
    features: list[Tensor]
    references: list[Reference]


class Judge:
    """One metric between a teacher and the outputs of student blocks.

    ``batches()`` gives all rating images, batch by batch, the same every time: their spread is what relative metrics
    are relative to. Raises ``UsageError`` where a target of the teacher is not finite or is constant (up to rounding)
    on them, or does not suit the metric.
    """

    def __init__(self, teacher: TeacherBlocks, metric: Metric, batches: Batches, device: Device) -> None:
        self.metric = metric
        self._teacher, self._device = teacher, device
        self.spreads = self._measure_spreads(batches)

    @torch.no_grad()
    def look(self, images: Tensor, labels: Tensor) -> Batch:
        """Run the teacher on a batch: images (B, C, H, W), labels (B,)."""
        images, labels = self._device.images(images), self._device.tensor(labels)
        features, targets = self._run(images)
        references = [
            Reference(target=target, spread=spread, labels=labels)
            for target, spread in zip(targets, self.spreads, strict=True)
        ]
        return Batch(images=images, features=features, references=references)

    @torch.no_grad()
    def scores(self, batch: Batch, block: int, outputs: Sequence[Tensor]) -> Tensor:
        """(G, B) scores of G outputs (B, C, H, W) of student block ``block`` (from 0), image by image.

        For stitched metrics the rest of the teacher runs once for all outputs, side by side along the batch: in eval
        mode it treats every image on its own.
        """
        if not self.metric.stitched:
            return torch.stack([self.metric.score(y.float(), batch.references[block]) for y in outputs])
        with self._device.autocast():
            logits = self._teacher.forward_from(block + 1, torch.cat(list(outputs)), batch.images)
        return torch.stack([self.metric.score(y, batch.references[0]) for y in logits.float().chunk(len(outputs))])

    def _run(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The teacher's features and, in float32, the targets: those after each block, or the logits alone."""
        with self._device.autocast():
            features = self._teacher.features(images)
            targets = [self._teacher.logits(images)] if self.metric.stitched else features[1:]
        return features, [target.float() for target in targets]

    @torch.no_grad()
    def _measure_spreads(self, batches: Batches) -> list[Spread]:
        moments: list[_Moments] = []
        for images, labels in batches():
            images = self._device.images(images)
            features, targets = self._run(images)
            if self.metric.stitched:
                self._check_logits(targets[0], labels)
                if not moments:
                    self._check_read(features, images)
            moments = moments or [_Moments() for _ in targets]
            for moment, target in zip(moments, targets, strict=True):
                moment.add(target)
        if self.metric.stitched:
            return [moments[0].spread("the teacher's output", self._device)]
        return [m.spread(f"the teacher's feature after block {b}", self._device) for b, m in enumerate(moments, 1)]

    def _check_logits(self, logits: Tensor, labels: Tensor) -> None:
        name = self.metric.name
        if logits.ndim != 2:
            raise UsageError(
                f"metric {name!r} compares logits (images, classes), but the teacher gives {tuple(logits.shape)}: "
                "take a metric that is not stitched."
            )
        if self.metric.labels and int(labels.max()) >= logits.shape[1]:
            raise UsageError(
                f"metric {name!r} needs a teacher of the images' classes, but it has {logits.shape[1]} and there is a "
                f"label {int(labels.max())}: fine-tune the teacher, or take 'stitched_kl'."
            )

    def _check_read(self, features: list[Tensor], images: Tensor) -> None:
        """Whether the teacher's rest reads the feature after each block: another image's must change the logits."""
        for i, feature in enumerate(features[1:], start=1):
            with self._device.autocast():
                logits, other = (
                    self._teacher.forward_from(i, y, images).float() for y in (feature, feature.roll(1, 0))
                )
            if (logits - other).norm() <= _SAME * logits.norm():
                raise UsageError(
                    f"metric {self.metric.name!r} needs a teacher whose output depends on its feature after each "
                    f"block, but after block {i} it does not (a transformer may read its class token alone there): "
                    "end the partition earlier (teacher.partition), or take a metric that is not stitched."
                )


class _Moments:
    """Sums over images and pixels, channel by channel, in float64."""

    def __init__(self) -> None:
        self.number = 0
        self.total = self.squares = np.zeros(())  # (C,) from the first batch on

    def add(self, y: Tensor) -> None:
        """Take in (B, C) or (B, C, H, W)."""
        y = y.double().transpose(0, 1).flatten(1)  # (C, B * pixels)
        self.number += y.shape[1]
        self.total = self.total + y.sum(1).cpu().numpy()
        self.squares = self.squares + y.square().sum(1).cpu().numpy()

    def spread(self, what: str, device: Device) -> Spread:
        """Standard deviations; ``what`` names the tensor in errors."""
        square = self.squares.mean() / self.number
        variance = square - (self.total.mean() / self.number) ** 2
        if not np.isfinite(variance):
            raise UsageError(
                f"{what} is not finite on the rating images: check the teacher's weights and preprocessing."
            )
        if variance <= _ROUNDING * square:
            raise UsageError(f"{what} is constant on the rating images: nothing to imitate. Choose other blocks.")
        squares = self.squares / self.number
        variances = squares - (self.total / self.number) ** 2
        stds = np.sqrt(np.where(variances > _ROUNDING * squares, variances, 0))
        return Spread(std=float(np.sqrt(variance)), channel_std=device.tensor(torch.from_numpy(stds).float()))
