"""Training a classifier on labels: fits teachers to the user's images and retrains students from scratch."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from timm.data.mixup import Mixup
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torch import Tensor, nn

from distilnas.data import Augmentation, ImageSet, Preprocessing, train_transform
from distilnas.errors import UsageError
from distilnas.runtime.device import Device
from distilnas.runtime.progress import Progress
from distilnas.training.batches import Pieces, UpdateStream, check_batch, eval_batches
from distilnas.training.evaluate import accuracy
from distilnas.training.loop import Loop
from distilnas.training.network import NetworkTraining, Trained, UpdateRule
from distilnas.training.optim import OptimSettings


@dataclass(frozen=True, kw_only=True)
class ClassifierSettings:
    """How a classifier is trained.

    ``batch_size`` is the number of images of an update. With ``micro_batch`` they are passed through the network so
    many at a time, which takes less memory: gradients are averaged; batch norm sees micro-batches, mixup draws for
    each. ``ema`` is the decay of a moving average of the weights (None: none), which is what is evaluated and kept.
    ``mixup`` and ``cutmix`` are the alphas of the beta distributions (0: off).
    """

    epochs: int = 30
    batch_size: int = 64
    micro_batch: int | None = None
    optim: OptimSettings = field(default_factory=OptimSettings)
    augment: Augmentation = field(default_factory=Augmentation)
    label_smoothing: float = 0.1
    mixup: float = 0.0
    cutmix: float = 0.0
    drop_rate: float = 0.0
    drop_path_rate: float = 0.0
    ema: float | None = None
    clip_grad: float | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise UsageError(
                f"epochs must be at least 1 and batch_size at least 2, got {self.epochs} and {self.batch_size}."
            )
        shares = {"label_smoothing": self.label_smoothing, "drop_rate": self.drop_rate}
        for name, share in (shares | {"drop_path_rate": self.drop_path_rate}).items():
            if not 0 <= share < 1:
                raise UsageError(f"{name} must be from 0 up to 1, got {share}.")
        if self.mixup < 0 or self.cutmix < 0:
            raise UsageError(f"mixup and cutmix must not be negative, got {self.mixup} and {self.cutmix}.")
        name, at_once = ("micro_batch", self.micro_batch) if self.micro_batch else ("batch_size", self.batch_size)
        if self.mixes and at_once % 2:
            raise UsageError(f"mixup and cutmix pair the images of a batch: {name} must be even, got {at_once}.")
        check_batch(self.batch_size, self.micro_batch, even=self.mixes)
        if self.ema is not None and not 0 < self.ema < 1:
            raise UsageError(f"ema must be between 0 and 1, got {self.ema}.")
        if self.clip_grad is not None and self.clip_grad <= 0:
            raise UsageError(f"clip_grad must be positive (null: no clipping), got {self.clip_grad}.")

    @property
    def mixes(self) -> bool:
        """Whether images are mixed in pairs."""
        return self.mixup > 0 or self.cutmix > 0

    def pieces(self, images: int) -> Pieces:
        """How an update passes where only so many images are there; sets may be small."""
        return Pieces.of(images, self.batch_size, self.micro_batch, even=self.mixes)


Criterion = Callable[[Tensor, Tensor], Tensor]


class Task:
    """What of a training depends on the kind of network; this one suits every classifier."""

    def prepare(self, model: nn.Module, progress: float) -> None:
        """Called before every step; ``progress``: the share of epochs that are done, the same all through an epoch."""

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor, criterion: Criterion) -> Tensor:
        """The loss of a batch, a scalar."""
        return criterion(model(images), labels)


def train_classifier(
    model: nn.Module,
    images: ImageSet,
    validation: ImageSet,
    preprocessing: Preprocessing,
    settings: ClassifierSettings,
    *,
    name: str,
    device: Device,
    seed: int,
    checkpoint: Path,
    progress: Progress,
    checkpoint_seconds: float | None = 30.0,
    workers: int = 0,
    task: Task | None = None,
) -> Trained:
    """Train ``model`` on labelled images; resumes from ``checkpoint`` and leaves it for the caller to remove.

    ``task``: None is the plain ``Task``.
    Validation images only measure (top-1 per epoch in the log as ``val_top1``); nothing is selected by them.
    """
    pieces = settings.pieces(len(images))
    stream = UpdateStream(
        images=images,
        transform=train_transform(preprocessing, settings.augment),
        pieces=pieces,
        seed=seed,
        workers=workers,
    )
    steps = stream.per_epoch
    rule = UpdateRule(
        optim=settings.optim.for_batch(pieces.update),
        epochs=settings.epochs,
        steps_per_epoch=steps,
        passes=pieces.passes,
        ema=settings.ema,
        clip_grad=settings.clip_grad,
    )
    labels = _Labels(
        settings,
        len(images.classes),
        task or Task(),
        lambda trained: accuracy(trained, eval_batches(validation, preprocessing, workers=workers), device),
    )
    training = NetworkTraining(model, labels, rule, device=device, seed=seed)
    loop = Loop(
        name=name,
        epochs=settings.epochs,
        steps_per_epoch=steps,
        batches=lambda epoch, start: stream.between(epoch * steps + start, (epoch + 1) * steps),
        checkpoint=checkpoint,
        progress=progress,
        checkpoint_seconds=checkpoint_seconds,
    )
    log = loop.run(training)
    return Trained(model=training.result().eval(), log=log)


class _Labels:
    """The ``Objective`` of a classifier."""

    loss_names: tuple[str, ...] = ("loss",)

    def __init__(
        self, settings: ClassifierSettings, num_classes: int, task: Task, top1: Callable[[nn.Module], float]
    ) -> None:
        self._epochs, self._task, self._top1 = settings.epochs, task, top1
        self._mixup = _mixup(settings, num_classes)
        self._criterion = (
            SoftTargetCrossEntropy() if self._mixup else LabelSmoothingCrossEntropy(settings.label_smoothing)
        )

    def prepare(self, model: nn.Module, epoch: int, step: int) -> None:
        self._task.prepare(model, epoch / self._epochs)

    def losses(self, model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        if self._mixup:
            images, labels = self._mixup(images, labels)
        return (self._task.loss(model, images, labels, self._criterion),)

    def metrics(self, model: nn.Module) -> dict[str, float]:
        return {"val_top1": self._top1(model)}


def _mixup(settings: ClassifierSettings, num_classes: int) -> Mixup | None:
    if not settings.mixes:
        return None
    return Mixup(
        mixup_alpha=settings.mixup,
        cutmix_alpha=settings.cutmix,
        label_smoothing=settings.label_smoothing,
        num_classes=num_classes,
    )
