"""How the weights of a whole network are updated, whatever it is trained for."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from distilnas.runtime import ranks
from distilnas.runtime.device import Device
from distilnas.runtime.seeds import derive_seed, torch_seed
from distilnas.training.batches import Batch
from distilnas.training.loop import TrainingLog
from distilnas.training.optim import OptimSettings, make_optimizer, make_scheduler


class Objective(Protocol):
    """What a network is trained for."""

    loss_names: tuple[str, ...]

    def prepare(self, model: nn.Module, epoch: int, step: int) -> None:
        """Called before every update."""
        ...

    def losses(self, model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """Scalars, one for each of ``loss_names``, of a batch on the device; the first is what is minimised."""
        ...

    def metrics(self, model: nn.Module) -> dict[str, float]:
        """What is measured after each epoch; ``model`` is what would be kept."""
        ...


@dataclass(frozen=True, kw_only=True)
class UpdateRule:
    """``optim`` as it is for the batch at hand; its schedule runs over ``epochs`` of ``steps_per_epoch`` updates.

    ``passes``: pieces of an update, see ``Pieces``. ``ema``: decay of the moving average of the weights; None: none.
    """

    optim: OptimSettings
    epochs: int
    steps_per_epoch: int
    passes: int = 1
    ema: float | None = None
    clip_grad: float | None = None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The trained network (the moving average, where one was kept), in eval mode, and the log of its training."""

    model: nn.Module
    log: TrainingLog


class NetworkTraining:
    """The ``Trainable`` of a whole network: trains ``model`` in place."""

    def __init__(self, model: nn.Module, objective: Objective, rule: UpdateRule, *, device: Device, seed: int) -> None:
        self.objective, self.rule, self.device, self.seed = objective, rule, device, seed
        self.loss_names = objective.loss_names
        self.model = device.module(model).train()
        self.optimizer = make_optimizer(self.model, rule.optim)
        self.scheduler = make_scheduler(
            self.optimizer, rule.optim, epochs=rule.epochs, steps_per_epoch=rule.steps_per_epoch
        )
        self.ema = ModelEmaV3(self.model, decay=rule.ema, use_warmup=True) if rule.ema else None

    def step(self, batch: Iterable[Batch], epoch: int, step: int) -> Tensor:
        done = epoch * self.rule.steps_per_epoch + step
        self.objective.prepare(self.model, epoch, step)
        self.scheduler.step_update(done)
        self.optimizer.zero_grad(set_to_none=True)
        with torch_seed(derive_seed(self.seed, 1, epoch, step, ranks.rank())):
            losses = torch.stack([self._backward(*piece) for piece in batch]).sum(0)
        ranks.average_gradients([self.optimizer], losses)
        if self.rule.clip_grad:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.rule.clip_grad)
        self.optimizer.step()
        if self.ema:
            self.ema.update(self.model, step=done)
        return losses

    def _backward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Add the gradients of one piece of a batch; returns its shares of the batch's mean losses, detached."""
        images, labels = self.device.images(images), self.device.tensor(labels)
        with self.device.autocast():
            losses = [loss / self.rule.passes for loss in self.objective.losses(self.model, images, labels)]
        self.device.fabric.backward(losses[0])
        return torch.stack([loss.detach() for loss in losses])

    def result(self) -> nn.Module:
        """What is kept."""
        return self.ema.module if self.ema else self.model

    def end_epoch(self, epoch: int) -> dict[str, float]:
        return self.objective.metrics(self.result())

    def state_dict(self) -> dict[Any, Any]:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        return state | ({"ema": self.ema.module.state_dict()} if self.ema else {})

    def load_state_dict(self, state: dict[Any, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema:
            self.ema.module.load_state_dict(state["ema"])
