"""DARTS (Liu et al., ICLR 2019), the baseline: weights learn from one half of the images, alphas from the other.

In the same supernet as ``shrink``, but all candidates stay until the end. Each step moves the alphas along the gradient
of the validation loss, of first order (at the present weights) or second (through one virtual step of the weights, by
finite differences, section 2.3 of the paper and the released code), and then the weights.

Differences from the released code: the learning rate falls with every step, not every epoch; all passes of the second
order feed the running averages of the batch norms, which only evaluation reads.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam

from distilnas.data import Augmentation
from distilnas.errors import UsageError
from distilnas.methods.dnad.alphas import Alphas
from distilnas.methods.dnad.supernet import SearchNet
from distilnas.runtime.device import Device
from distilnas.runtime.seeds import derive_seed
from distilnas.space.darts import AnyGenotype
from distilnas.training.loop import Loop, TrainingLog
from distilnas.training.optim import OptimSettings, make_scheduler

_RADIUS = 1e-2  # of the finite difference, over the norm of the direction

Labelled = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class BilevelSettings:
    """How alphas and weights learn; the defaults are those of the released code for CIFAR-10.

    ``shared``: one normal and one reduction cell (DARTS), or alphas of its own for every cell. ``evaluation_width``: of
    the derived network; ``evaluation_cells``: its cells where they are shared, otherwise it has the search's number.
    """

    epochs: int = 50
    batch_size: int = 64
    order: Literal["first", "second"] = "second"
    shared: bool = True
    lr: float = 0.025
    min_lr: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    clip_grad: float = 5.0
    alpha_lr: float = 3e-4
    alpha_betas: tuple[float, float] = (0.5, 0.999)
    alpha_weight_decay: float = 1e-3
    evaluation_width: int = 36
    evaluation_cells: int = 20
    augment: Augmentation = field(default_factory=lambda: Augmentation(crop="padded"))

    def derived_cells(self, searched: int) -> int:
        """Cells of the derived network of a search with so many."""
        return self.evaluation_cells if self.shared else searched

    def __post_init__(self) -> None:
        if self.order not in ("first", "second"):
            raise UsageError(f"the order of DARTS is first or second, got {self.order!r}.")
        if self.epochs < 1 or self.batch_size < 2:
            raise UsageError(
                f"epochs must be at least 1 and batch_size at least 2, got {self.epochs} and {self.batch_size}."
            )
        if not 0 < self.min_lr <= self.lr or self.alpha_lr <= 0 or self.clip_grad <= 0:
            raise UsageError(
                "lr, alpha_lr and clip_grad must be positive and min_lr above 0 and at most lr, got "
                f"{self.lr}, {self.alpha_lr}, {self.clip_grad} and {self.min_lr}."
            )


@dataclass(frozen=True, kw_only=True)
class Relaxed:
    """The genotype of a search (DARTS form if alphas are shared, else per cell), its alphas, and its log."""

    genotype: AnyGenotype
    alphas: Alphas
    log: TrainingLog


def search_bilevel(supernet: SearchNet, settings: BilevelSettings, loop: Loop, *, device: Device, seed: int) -> Relaxed:
    """Train ``supernet`` in place and its alphas; the batches of ``loop`` are pairs, ((images, labels), (images,
    labels)), one for the weights and a random one of other images for the alphas.

    Raises ``UsageError`` for a space of ``none`` alone.
    """
    if supernet.space.primitives == ("none",):
        raise UsageError("a genotype has no op 'none': add ops to the primitives.")
    alphas = Alphas(supernet.space, shared=settings.shared, seed=derive_seed(seed, 1))
    log = loop.run(BilevelTraining(supernet, alphas, settings, loop, device=device))
    return Relaxed(genotype=alphas.genotype(), alphas=alphas, log=log)


class BilevelTraining:
    """The ``Trainable`` of DARTS."""

    loss_names: tuple[str, ...] = ("loss", "alpha_loss")

    def __init__(
        self, supernet: SearchNet, alphas: Alphas, settings: BilevelSettings, loop: Loop, *, device: Device
    ) -> None:
        self.settings, self.device, self.steps_per_epoch = settings, device, loop.steps_per_epoch
        self.net: SearchNet = device.module(supernet).train()  # type: ignore[assignment]
        self.alphas = alphas.to(device.fabric.device)
        self.weights = list(self.net.parameters())
        self.optimizer = SGD(
            self.weights, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
        self.alpha_optimizer = Adam(
            [alphas.alpha],
            lr=settings.alpha_lr,
            betas=settings.alpha_betas,
            weight_decay=settings.alpha_weight_decay,
        )
        rates = OptimSettings(lr=settings.lr, min_lr_ratio=settings.min_lr / settings.lr)
        self.scheduler = make_scheduler(self.optimizer, rates, epochs=loop.epochs, steps_per_epoch=loop.steps_per_epoch)

    def step(self, batch: tuple[Labelled, Labelled], epoch: int, step: int) -> Tensor:
        train, valid = ((self.device.images(images), self.device.tensor(labels)) for images, labels in batch)
        self.scheduler.step_update(epoch * self.steps_per_epoch + step)
        alpha_loss, self.alphas.alpha.grad = self.alpha_gradient(train, valid)
        self.alpha_optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(train)
        self.device.fabric.backward(loss, inputs=self.weights)
        nn.utils.clip_grad_norm_(self.weights, self.settings.clip_grad)
        self.optimizer.step()
        return torch.stack([loss.detach(), alpha_loss])

    def loss(self, batch: Labelled) -> Tensor:
        """Cross entropy of a batch at the present weights and alphas."""
        with self.device.autocast():
            logits = self.net(batch[0], self.alphas.weights())
        return functional.cross_entropy(logits.float(), batch[1])

    def alpha_gradient(self, train: Labelled, valid: Labelled) -> tuple[Tensor, Tensor]:
        """The validation loss, and its gradient for the alphas in the order of the settings."""
        if self.settings.order == "first":
            loss = self.loss(valid)
            return loss.detach(), torch.autograd.grad(loss, self.alphas.alpha)[0]
        return unrolled_gradient(
            self.loss,
            self.weights,
            self.alphas.alpha,
            train,
            valid,
            virtual_step=self._virtual_step,
            rate=self.optimizer.param_groups[0]["lr"],
        )

    def _virtual_step(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """What the optimiser would add to the weights, without clipping."""
        decay, momentum = self.settings.weight_decay, self.settings.momentum
        (group,) = self.optimizer.param_groups
        steps = []
        for weight, gradient in zip(self.weights, gradients, strict=True):
            kept = self.optimizer.state[weight].get("momentum_buffer")
            direction = gradient + decay * weight.detach()
            steps.append(-group["lr"] * (direction if kept is None else direction + momentum * kept))
        return steps

    def end_epoch(self, epoch: int) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[Any, Any]:
        return {
            "net": self.net.state_dict(),
            "alphas": self.alphas.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "alpha_optimizer": self.alpha_optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[Any, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.alphas.load_state_dict(state["alphas"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.alpha_optimizer.load_state_dict(state["alpha_optimizer"])


def unrolled_gradient(
    loss: Callable[[Any], Tensor],
    weights: Sequence[nn.Parameter],
    alpha: nn.Parameter,
    train: Any,
    valid: Any,
    *,
    virtual_step: Callable[[Sequence[Tensor]], list[Tensor]],
    rate: float,
) -> tuple[Tensor, Tensor]:
    """Validation loss and gradient of ``alpha`` through one virtual step of the weights (DARTS, equations 7 and 8).

    ``virtual_step`` turns the gradients of the training loss into steps, -``rate`` times gradient and what does not
    depend on it. With w' = w + step and v = grad_w' L_valid(w') the gradient is grad_alpha L_valid(w') - rate *
    grad_alpha (v . grad_w L_train), the latter from two gradients at w +- 0.01 v / |v|. Weights are restored exactly.
    """
    steps = virtual_step(torch.autograd.grad(loss(train), weights))
    with _moved(weights, steps):
        valid_loss = loss(valid)
        direct, *direction = torch.autograd.grad(valid_loss, [alpha, *weights])
    norm = torch.stack([torch.linalg.vector_norm(part) for part in direction]).norm()
    scale = _RADIUS / norm.clamp_min(1e-12)
    beside = []
    for sign in (1, -1):
        with _moved(weights, [sign * scale * part for part in direction]):
            beside.append(torch.autograd.grad(loss(train), alpha)[0])
    return valid_loss.detach(), direct - rate * (beside[0] - beside[1]) / (2 * scale)


@contextmanager
def _moved(weights: Sequence[nn.Parameter], steps: Sequence[Tensor]) -> Iterator[None]:
    """The weights plus ``steps`` inside; as they were, bit for bit, afterwards."""
    before = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight, step in zip(weights, steps, strict=True):
            weight.add_(step)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, before, strict=True):
                weight.copy_(value)
