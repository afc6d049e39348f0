"""Search by imitating: the supernet's distance from a frozen teacher, at the ends of its three resolutions.

``feature`` is DNAD's own, after the public code of its authors; the others are those that its code offers beside it
(Hinton et al. 2015; Zagoruyko and Komodakis 2017; after Kim et al. 2018). Each turns pairs of maps, or of logits, into
one number; what is trained for it are 1x1 convolutions from the supernet's widths to the teacher's.

Differences from that code: the teacher is in eval mode, and its maps are standardised with the statistics of the batch
(there by a batch norm in training mode, which is the same).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from distilnas.errors import UsageError, nearest
from distilnas.runtime.device import Device
from distilnas.runtime.seeds import torch_seed
from distilnas.teachers import Partition, TeacherBlocks

Pairs = Sequence[tuple[Tensor, Tensor]]
"""Maps (B, C, H, W) of student and teacher at each point."""

POINTS = 3


@dataclass(frozen=True, kw_only=True)
class ImitationSettings:
    """How the teacher is imitated; the names of ``KINDS`` are the kinds.

    Args:
        kappa: weight beside the labels' cross entropy; 0 is the search without a teacher (SNPS).
        ratios: weights of the three points, for ``feature``.
        taps: the teacher's modules to compare with, three of its taps in their order; None: chosen by resolution.
        temperature: for ``soft``.
        beta: factor of ``attention`` and ``factor``; None: 1000 and 100.
    """

    kind: str = "feature"
    kappa: float = 1.0
    ratios: tuple[float, float, float] = (0.2, 0.3, 0.5)
    taps: tuple[str, str, str] | None = None
    temperature: float = 4.0
    beta: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"unknown kind of imitation {self.kind!r}; {nearest(self.kind, KINDS)}")
        if not 0 <= self.kappa < math.inf or self.temperature <= 0 or (self.beta is not None and self.beta <= 0):
            raise UsageError(
                f"kappa must not be negative, temperature and beta must be positive, got {self.kappa}, "
                f"{self.temperature} and {self.beta}."
            )
        if len(self.ratios) != POINTS or min(self.ratios) < 0:
            raise UsageError(f"ratios are three weights from 0, one a point, got {self.ratios}.")


def feature_distance(pairs: Pairs, settings: ImitationSettings) -> Tensor:
    """Sum over points of r_l times the mean squared difference of the channels, standardised over batch and space.

    A point's part is 2 (1 - mean over channels of the correlation of student and teacher), in [0, 4].
    """
    parts = [functional.mse_loss(standardised(student), standardised(teacher)) for student, teacher in pairs]
    return torch.stack([ratio * part for ratio, part in zip(settings.ratios, parts, strict=True)]).sum()


def attention_distance(pairs: Pairs, settings: ImitationSettings) -> Tensor:
    """beta times the mean over points of the squared difference of attention: the channels' mean square, at norm 1."""
    parts = [functional.mse_loss(_attention(student), _attention(teacher)) for student, teacher in pairs]
    return (1000.0 if settings.beta is None else settings.beta) * torch.stack(parts).mean()


def factor_distance(pairs: Pairs, settings: ImitationSettings) -> Tensor:
    """beta times the mean absolute difference of the last standardised maps, each image's flattened and at norm 1."""
    student, teacher = (functional.normalize(standardised(part).flatten(1)) for part in pairs[-1])
    return (100.0 if settings.beta is None else settings.beta) * functional.l1_loss(student, teacher)


def soft_distance(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student) of the classes at temperature T, the mean over logits (B, classes)."""
    logs = functional.log_softmax(student / temperature, dim=1)
    target = functional.log_softmax(teacher / temperature, dim=1)
    return temperature**2 * functional.kl_div(logs, target, reduction="batchmean", log_target=True)


def standardised(x: Tensor) -> Tensor:
    """Each channel at mean 0 and variance 1 over batch and space: batch norm without scale and shift."""
    return functional.batch_norm(x, None, None, training=True)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """``compare`` maps (None: logits); at ``adapted`` points, from the last, the width is brought to the teacher's."""

    compare: Callable[[Pairs, ImitationSettings], Tensor] | None
    adapted: int


KINDS = {
    "feature": Kind(compare=feature_distance, adapted=POINTS),
    "attention": Kind(compare=attention_distance, adapted=0),
    "factor": Kind(compare=factor_distance, adapted=1),
    "soft": Kind(compare=None, adapted=0),
}


class Imitation(nn.Module):
    """The distance of a supernet from ``teacher``; its parameters are those of the adapters alone.

    ``widths`` and ``grids``: channels and (height, width) of the supernet's three maps for images of the teacher's
    partition. Where the teacher's map has another size, the larger one is pooled to the smaller.

    Raises ``UsageError`` when the teacher has fewer than three taps, or not those named, or a map that is neither
    larger nor smaller in both directions; and in the first step when ``soft`` meets another number of classes.
    """

    def __init__(
        self,
        settings: ImitationSettings,
        teacher: TeacherBlocks,
        widths: Sequence[int],
        grids: Sequence[tuple[int, int]],
        *,
        seed: int,
    ) -> None:
        super().__init__()
        self.settings, self.kind = settings, KINDS[settings.kind]
        self._teacher = (teacher,)  # in a tuple: no part of this module, so of no checkpoint
        self.taps = () if self.kind.compare is None else choose_taps(teacher.partition, settings.taps, grids)
        self.adapters = nn.ModuleList()
        with torch_seed(seed):
            for point, tap in enumerate(self.taps):
                adapted = point >= POINTS - self.kind.adapted
                channels = teacher.partition.taps[tap].channels
                self.adapters.append(nn.Conv2d(widths[point], channels, 1) if adapted else nn.Identity())

    def to_device(self, device: Device) -> "Imitation":
        """This module, and the teacher with it, moved to ``device``."""
        device.module(self._teacher[0])
        return device.module(self)  # type: ignore[return-value]

    def forward(self, images: Tensor, maps: Sequence[Tensor], logits: Tensor) -> Tensor:
        """The distance on ``images`` (B, C, R, R) of the supernet's ``maps`` and ``logits`` for them; a scalar."""
        (teacher,) = self._teacher
        if self.kind.compare is None:
            targets = teacher.logits(images)
            _check_classes(logits, targets)
            return soft_distance(logits.float(), targets.float(), self.settings.temperature)
        features = teacher.features(images)
        pairs = [
            _same_size(adapter(own).float(), features[tap + 1].float())
            for adapter, own, tap in zip(self.adapters, maps, self.taps, strict=True)
        ]
        return self.kind.compare(pairs, self.settings)


def check_teacher(settings: ImitationSettings, partition: Partition, sides: Sequence[int]) -> None:
    """Raise ``UsageError`` where ``Imitation`` would, for maps of these ``sides`` at the three points."""
    if KINDS[settings.kind].compare is not None:
        choose_taps(partition, settings.taps, [(side, side) for side in sides])


def choose_taps(partition: Partition, names: Sequence[str] | None, grids: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Indices of three taps in their order: the named ones, or those whose resolutions are nearest to ``grids``.

    Near is meant in ratios, over the three together; of equally near ones the later taps are taken.
    """
    paths = [tap.path for tap in partition.taps]
    if names is not None:
        for name in names:
            if name not in paths:
                raise UsageError(f"the teacher's partition has no tap {name!r}; {nearest(name, paths)}")
        chosen = tuple(paths.index(name) for name in names)
        if len(chosen) != POINTS or list(chosen) != sorted(set(chosen)):
            raise UsageError(f"imitation needs three different taps in the teacher's order, got {', '.join(names)}.")
    else:
        if len(paths) < POINTS:
            raise UsageError(
                f"imitation compares at three points, but the teacher's partition has {len(paths)} taps "
                f"({', '.join(paths)}): list at least three module paths in its partition."
            )
        heights = [math.log(tap.height) for tap in partition.taps]
        wanted = [math.log(height) for height, _ in grids]
        distance = {
            taps: sum(abs(heights[tap] - height) for tap, height in zip(taps, wanted, strict=True))
            for taps in combinations(range(len(paths)), POINTS)
        }
        chosen = min(distance, key=lambda taps: (round(distance[taps], 9), tuple(-tap for tap in taps)))
    for tap, grid in zip(chosen, grids, strict=True):
        _check_sizes(paths[tap], partition.taps[tap].grid, grid)
    return chosen


def _check_sizes(path: str, teacher: tuple[int, int], student: tuple[int, int]) -> None:
    differences = [theirs - ours for theirs, ours in zip(teacher, student, strict=True)]
    if min(differences) < 0 < max(differences):
        raise UsageError(
            f"maps are matched by pooling the larger to the smaller, but the teacher's at {path!r} is {teacher[0]} x "
            f"{teacher[1]} and the supernet's {student[0]} x {student[1]}: take square images or name other taps."
        )


def _check_classes(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise UsageError(
            f"soft imitation compares class by class, but the supernet has {student.shape[1]} classes and the teacher "
            f"{teacher.shape[1]}: fit the teacher to the images, or imitate features."
        )


def _same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    (height, width), size = student.shape[-2:], (teacher.shape[-2], teacher.shape[-1])
    if (height, width) == size:
        return student, teacher
    if height >= size[0] and width >= size[1]:
        return functional.adaptive_avg_pool2d(student, size), teacher
    return student, functional.adaptive_avg_pool2d(teacher, (height, width))


def _attention(x: Tensor) -> Tensor:
    return functional.normalize(x.square().mean(dim=1).flatten(1))
