"""Optimiser and learning-rate schedule settings; timm builds both."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from timm.optim import create_optimizer_v2, get_optimizer_info, list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.optim import Optimizer

from distilnas.errors import UsageError, nearest

SCHEDULES = ("cosine", "step", "linear", "none")
SCALES = ("linear", "sqrt")


@dataclass(frozen=True, kw_only=True)
class OptimSettings:
    """How weights are updated.

    ``schedule``: ``cosine`` falls to ``min_lr_ratio`` x lr, ``linear`` too but straight, ``step`` multiplies by
    ``decay`` every ``decay_epochs``, ``none`` stays. ``warmup`` is the share of all steps with linearly rising rate.
    ``lr_base_size``: the batch that ``lr`` was given for; another batch gets ``lr`` scaled by their ratio (``linear``,
    Goyal et al. 2017) or its root (``sqrt``, usual with adaptive optimisers). None: ``lr`` as it stands.
    """

    optimizer: str = "adamw"
    lr: float = 1e-3
    lr_base_size: int | None = None
    lr_base_scale: str = "linear"
    weight_decay: float = 0.0
    momentum: float = 0.9
    eps: float | None = None
    schedule: str = "cosine"
    min_lr_ratio: float = 0.01
    warmup: float = 0.0
    decay: float = 0.9
    decay_epochs: float = 1.0

    def __post_init__(self) -> None:
        known = [str(name) for name in list_optimizers()]
        if self.optimizer not in known:
            raise UsageError(f"unknown optimizer {self.optimizer!r}; {nearest(self.optimizer, known)}")
        if self.schedule not in SCHEDULES:
            raise UsageError(f"unknown schedule {self.schedule!r}; {nearest(self.schedule, SCHEDULES)}")
        if self.lr_base_scale not in SCALES:
            raise UsageError(f"unknown lr_base_scale {self.lr_base_scale!r}; {nearest(self.lr_base_scale, SCALES)}")
        if self.lr_base_size is not None and self.lr_base_size < 1:
            raise UsageError(f"lr_base_size is a number of images, at least 1, got {self.lr_base_size}.")
        if not 0 < self.lr < math.inf or not 0 <= self.warmup < 1:
            raise UsageError(f"lr must be positive and warmup from 0 up to 1, got {self.lr} and {self.warmup}.")
        if self.weight_decay < 0 or not 0 <= self.momentum < 1:
            raise UsageError(
                "weight_decay must not be negative and momentum be from 0 up to 1, got "
                f"{self.weight_decay} and {self.momentum}."
            )
        if not (0 <= self.min_lr_ratio <= 1 and self.decay > 0 and self.decay_epochs > 0):
            raise UsageError(
                "min_lr_ratio must be from 0 to 1, decay and decay_epochs above 0, got "
                f"{self.min_lr_ratio}, {self.decay} and {self.decay_epochs}."
            )
        make_optimizer(nn.Linear(1, 1), self)  # what it refuses is refused now, not after a search

    def for_batch(self, size: int) -> "OptimSettings":
        """These settings for updates of ``size`` images: ``lr`` scaled, ``lr_base_size`` spent."""
        if self.lr_base_size is None:
            return self
        ratio = size / self.lr_base_size
        factor = ratio if self.lr_base_scale == "linear" else ratio**0.5
        return replace(self, lr=self.lr * factor, lr_base_size=None)


def make_optimizer(module: nn.Module, settings: OptimSettings) -> Optimizer:
    """timm's optimiser over the module's trainable parameters; norms and biases are not decayed.

    Adam and AdamW are PyTorch's fused ones, which update a weight in one pass over its memory, where that has no gaps
    (its fused SGD cannot take up a weight later than others, as single paths do). Raises ``UsageError`` where nothing
    is trainable and where the optimiser refuses a value (a negative ``weight_decay``, ...).
    """
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    if not weights:
        raise UsageError("there is nothing to train: all weights are frozen (requires_grad is false).")
    extra: dict[str, Any] = {} if settings.eps is None else {"eps": settings.eps}
    if get_optimizer_info(settings.optimizer).opt_class in (torch.optim.Adam, torch.optim.AdamW):
        extra["fused"] = all(torch.ops.aten.is_non_overlapping_and_dense(weight) for weight in weights)
    try:
        optimizer = create_optimizer_v2(
            module,
            opt=settings.optimizer,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            momentum=settings.momentum,
            **extra,
        )
    except Exception as error:  # what optimisers of many authors raise for a value or a missing package
        raise UsageError(f"optimizer {settings.optimizer!r} refuses its settings: {error}. Change them.") from error
    optimizer.register_load_state_dict_post_hook(_lay_out_as_weights)
    return optimizer


def _lay_out_as_weights(optimizer: Optimizer) -> None:
    """Give restored averages the memory layout of their weights: fused optimisers walk through memory as it lies."""
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == weight.shape:
                state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


def make_scheduler(optimizer: Optimizer, settings: OptimSettings, *, epochs: int, steps_per_epoch: int) -> Scheduler:
    """timm's schedule over steps: ``step_update(t)`` sets the rate of step t (from 0).

    A pure function of t, so there is no state to keep.
    """
    total = max(1, epochs * steps_per_epoch)
    constant = settings.schedule == "none"
    sched = {"none": "step", "linear": "poly"}.get(settings.schedule, settings.schedule)
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched=sched,
        num_epochs=total,  # timm's "epochs" are our steps
        decay_epochs=total + 1 if constant else max(1, round(settings.decay_epochs * steps_per_epoch)),
        decay_rate=1.0 if sched == "poly" else settings.decay,  # timm's power of the polynomial
        min_lr=settings.min_lr_ratio * settings.lr,
        warmup_lr=settings.lr * 1e-3,
        warmup_epochs=round(settings.warmup * total),
        step_on_epochs=False,
        updates_per_epoch=1,
    )
    assert scheduler is not None
    return scheduler
