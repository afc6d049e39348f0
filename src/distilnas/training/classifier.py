"""Training a classifier on labels: fits teachers to the user's images and retrains students from scratch."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from timm.data.mixup import Mixup
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from distilnas.data import Augmentation, ImageSet, Preprocessing, eval_transform, make_loader, train_transform
from distilnas.errors import UsageError
from distilnas.runtime import ranks
from distilnas.runtime.device import Device
from distilnas.runtime.progress import Progress
from distilnas.runtime.seeds import derive_seed, torch_seed
from distilnas.training.evaluate import accuracy
from distilnas.training.loop import Loop, TrainingLog
from distilnas.training.optim import OptimSettings, make_optimizer, make_scheduler


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
        if self.micro_batch is not None and (self.micro_batch < 2 or self.batch_size % self.micro_batch):
            raise UsageError(
                f"batch_size must be a multiple of micro_batch, and that at least 2, got {self.batch_size} and "
                f"{self.micro_batch}."
            )
        name, at_once = ("micro_batch", self.micro_batch) if self.micro_batch else ("batch_size", self.batch_size)
        if self.mixes and at_once % 2:
            raise UsageError(f"mixup and cutmix pair the images of a batch: {name} must be even, got {at_once}.")
        ranks.check_shares(self.batch_size, self.micro_batch, even=self.mixes)
        if self.ema is not None and not 0 < self.ema < 1:
            raise UsageError(f"ema must be between 0 and 1, got {self.ema}.")
        if self.clip_grad is not None and self.clip_grad <= 0:
            raise UsageError(f"clip_grad must be positive (null: no clipping), got {self.clip_grad}.")

    @property
    def mixes(self) -> bool:
        """Whether images are mixed in pairs."""
        return self.mixup > 0 or self.cutmix > 0

    def batches_of(self, images: int) -> tuple[int, int]:
        """(images a rank passes at once, passes an update) where only so many images are there; sets may be small."""
        share = min(self.batch_size, images) // ranks.world_size()
        at_once = min(self.micro_batch or share, share)
        at_once -= at_once % 2 if self.mixes else 0
        if at_once < 1:
            raise UsageError(f"{images} training images are too few to train with.")
        return at_once, share // at_once


Criterion = Callable[[Tensor, Tensor], Tensor]


class Task:
    """What of a training depends on the kind of network; this one suits every classifier."""

    def prepare(self, model: nn.Module, progress: float) -> None:
        """Called before every step; ``progress``: the share of epochs that are done, the same all through an epoch."""

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor, criterion: Criterion) -> Tensor:
        """The loss of a batch, a scalar."""
        return criterion(model(images), labels)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The trained network (the moving average, where one was kept), in eval mode, and the log of its training."""

    model: nn.Module
    log: TrainingLog


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
    transform = train_transform(preprocessing, settings.augment)
    at_once, passes = settings.batches_of(len(images))
    update = at_once * passes * ranks.world_size()
    steps = len(images) // update

    def batches(epoch: int, start: int) -> Iterable[Iterator[tuple[Tensor, Tensor]]]:
        loader = make_loader(
            images,
            transform,
            batch_size=at_once,
            rank=ranks.rank(),
            world_size=ranks.world_size(),
            seed=seed,
            epoch=epoch,
            shuffle=True,
            drop_last=True,
            workers=workers,
            start_batch=start * passes,
        )
        pieces = iter(loader)
        return (islice(pieces, passes) for _ in range(start, steps))

    def validate() -> Iterable[tuple[Tensor, Tensor]]:
        return make_loader(
            validation,
            eval_transform(preprocessing),
            batch_size=256,
            seed=0,
            epoch=0,
            shuffle=False,
            drop_last=False,
            workers=workers,
        )

    settings = replace(settings, optim=settings.optim.for_batch(update))
    classes = len(images.classes)
    training = _ClassifierTraining(model, settings, device, seed, steps, passes, classes, validate, task or Task())
    loop = Loop(
        name=name,
        epochs=settings.epochs,
        steps_per_epoch=steps,
        batches=batches,
        checkpoint=checkpoint,
        progress=progress,
        checkpoint_seconds=checkpoint_seconds,
    )
    log = loop.run(training)
    return Trained(model=training.result().eval(), log=log)


class _ClassifierTraining:
    """The ``Trainable`` of a classifier."""

    loss_names: tuple[str, ...] = ("loss",)

    def __init__(
        self,
        model: nn.Module,
        settings: ClassifierSettings,
        device: Device,
        seed: int,
        steps_per_epoch: int,
        passes: int,
        num_classes: int,
        validate: Any,
        task: Task,
    ) -> None:
        self.settings, self.device, self.seed, self.validate, self.task = settings, device, seed, validate, task
        self.steps, self.passes = steps_per_epoch, passes
        self.model = device.module(model).train()
        self.optimizer = make_optimizer(self.model, settings.optim)
        self.scheduler = make_scheduler(
            self.optimizer, settings.optim, epochs=settings.epochs, steps_per_epoch=steps_per_epoch
        )
        self.ema = ModelEmaV3(self.model, decay=settings.ema, use_warmup=True) if settings.ema else None
        self.mixup = _mixup(settings, num_classes)
        self.criterion = (
            SoftTargetCrossEntropy() if self.mixup else LabelSmoothingCrossEntropy(settings.label_smoothing)
        )

    def step(self, batch: Iterable[tuple[Tensor, Tensor]], epoch: int, step: int) -> Tensor:
        done = epoch * self.steps + step
        self.task.prepare(self.model, epoch / self.settings.epochs)
        self.scheduler.step_update(done)
        self.optimizer.zero_grad(set_to_none=True)
        with torch_seed(derive_seed(self.seed, 1, epoch, step, ranks.rank())):
            loss = torch.stack([self._backward(*piece) for piece in batch]).sum()
        loss = loss.reshape(1)
        ranks.average_gradients([self.optimizer], loss)
        if self.settings.clip_grad:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_grad)
        self.optimizer.step()
        if self.ema:
            self.ema.update(self.model, step=done)
        return loss

    def _backward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Add the gradients of one piece of a batch; returns its share of the batch's mean loss, detached."""
        images, labels = self.device.images(images), self.device.tensor(labels)
        if self.mixup:
            images, labels = self.mixup(images, labels)
        with self.device.autocast():
            loss = self.task.loss(self.model, images, labels, self.criterion) / self.passes
        self.device.fabric.backward(loss)
        return loss.detach()

    def result(self) -> nn.Module:
        return self.ema.module if self.ema else self.model

    def end_epoch(self, epoch: int) -> dict[str, float]:
        return {"val_top1": accuracy(self.result(), self.validate(), self.device)}

    def state_dict(self) -> dict[Any, Any]:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        return state | ({"ema": self.ema.module.state_dict()} if self.ema else {})

    def load_state_dict(self, state: dict[Any, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema:
            self.ema.module.load_state_dict(state["ema"])


def _mixup(settings: ClassifierSettings, num_classes: int) -> Mixup | None:
    if not settings.mixes:
        return None
    return Mixup(
        mixup_alpha=settings.mixup,
        cutmix_alpha=settings.cutmix,
        label_smoothing=settings.label_smoothing,
        num_classes=num_classes,
    )
