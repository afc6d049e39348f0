"""Training the one-shot supernet end to end on labels, one network a step."""

from dataclasses import dataclass, field
from typing import Any

import torch
from timm.loss import LabelSmoothingCrossEntropy
from torch import Tensor

from distilnas.baselines.spos.sampling import SAMPLERS
from distilnas.baselines.spos.supernet import OneShot
from distilnas.data import Augmentation
from distilnas.errors import UsageError, nearest
from distilnas.runtime.device import Device
from distilnas.space import Choice
from distilnas.training.loop import Loop, TrainingLog
from distilnas.training.optim import OptimSettings, make_optimizer, make_scheduler


def _released_optim() -> OptimSettings:
    return OptimSettings(
        optimizer="momentum", lr=0.5, lr_base_size=1024, weight_decay=4e-5, schedule="linear", min_lr_ratio=0.0
    )


@dataclass(frozen=True, kw_only=True)
class SposSettings:
    """How the one-shot supernet is trained; optimiser, schedule and smoothing are those of the authors' released code.

    Its rate, 0.5 for batches of 1024 images, is scaled to ``batch_size``. ``sampling``: a name in ``SAMPLERS``.
    ``paths_per_step``: an update averages the gradients of so many networks on the same batch (1 in the paper).
    """

    epochs: int = 20
    batch_size: int = 128
    sampling: str = "uniform"
    paths_per_step: int = 1
    label_smoothing: float = 0.1
    optim: OptimSettings = field(default_factory=_released_optim)
    augment: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.sampling not in SAMPLERS:
            raise UsageError(f"unknown sampling of networks {self.sampling!r}; {nearest(self.sampling, SAMPLERS)}")
        if self.epochs < 0 or self.batch_size < 2:
            raise UsageError(
                f"epochs must not be negative and batch_size at least 2, got {self.epochs} and {self.batch_size}."
            )
        if self.paths_per_step < 1:
            raise UsageError(f"paths_per_step is a number of networks from 1, got {self.paths_per_step}.")
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing must be from 0 up to 1, got {self.label_smoothing}.")


def train_one_shot(net: OneShot, settings: SposSettings, loop: Loop, *, device: Device, seed: int) -> TrainingLog:
    """Train ``net`` in place for the epochs of ``loop``, which gives batches of (images, labels)."""
    return loop.run(OneShotTraining(net, settings, loop, device=device, seed=seed))


class OneShotTraining:
    """The ``Trainable`` of the one-shot supernet.

    Ops that are not on a step's paths get no gradient and are not touched: no weight decay, no momentum.
    """

    loss_names: tuple[str, ...] = ("loss",)

    def __init__(self, net: OneShot, settings: SposSettings, loop: Loop, *, device: Device, seed: int) -> None:
        self.settings, self.device, self.seed = settings, device, seed
        self.steps_per_epoch = loop.steps_per_epoch
        self.net: OneShot = device.module(net).train()  # type: ignore[assignment]
        optim = settings.optim.for_batch(settings.batch_size)
        self.optimizer = make_optimizer(self.net, optim)
        self.scheduler = make_scheduler(self.optimizer, optim, epochs=loop.epochs, steps_per_epoch=loop.steps_per_epoch)
        self.criterion = LabelSmoothingCrossEntropy(settings.label_smoothing)

    def step(self, batch: tuple[Tensor, Tensor], epoch: int, step: int) -> Tensor:
        images, labels = self.device.images(batch[0]), self.device.tensor(batch[1])
        self.scheduler.step_update(epoch * self.steps_per_epoch + step)
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for choice in self.choices(epoch, step):
            with self.device.autocast():
                loss = self.criterion(self.net(images, choice), labels) / self.settings.paths_per_step
            self.device.fabric.backward(loss)
            losses.append(loss.detach())
        self.optimizer.step()
        return torch.stack(losses).sum().reshape(1)

    def choices(self, epoch: int, step: int) -> list[Choice]:
        """The networks that a step trains, a function of (seed, epoch, step) alone."""
        many = self.settings.paths_per_step
        start = (epoch * self.steps_per_epoch + step) * many
        sampler = SAMPLERS[self.settings.sampling]
        return [sampler(self.net.space, self.seed, number) for number in range(start, start + many)]

    def end_epoch(self, epoch: int) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[Any, Any]:
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[Any, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
