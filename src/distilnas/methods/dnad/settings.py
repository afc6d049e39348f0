"""Settings of a shrinking search: the authors' for CIFAR-10 by default, and those for ImageNet."""

from dataclasses import dataclass, field
from types import MappingProxyType

from distilnas.data import Augmentation
from distilnas.errors import UsageError, nearest
from distilnas.methods.dnad.imitation import ImitationSettings
from distilnas.methods.dnad.pressure import IMAGENET_PRESSURE, PressureSettings
from distilnas.methods.dnad.sparsity import PENALTIES
from distilnas.training.optim import SCHEDULES


@dataclass(frozen=True, kw_only=True)
class ShrinkSettings:
    """How the supernet is trained and shrunk, after the public code of DNAD's authors.

    Weights and architecture learn together from every batch: the weights by Adam (``lr``, ``betas``, ``weight_decay``),
    the architecture by gradient descent (``architecture_lr``, ``architecture_momentum``). ``clip_grad`` is the largest
    gradient norm, of the weights, the architecture and the adapters to the teacher each.

    For ``warmup_epochs`` the objective is the loss alone, nothing is deleted and the pressure waits (the authors'
    code says the first; the rest is our reading). After them every step deletes.

    The search ends when S falls below ``min_sparsity``, when the derived network of ``evaluation_width`` has at most
    ``max_macs``, when every node has one candidate left, or with the last epoch; None: not for this reason. Snapshots
    are taken at Pareto events, every ``snapshot_steps`` steps (None: after every epoch), and at the end.
    """

    epochs: int = 120
    batch_size: int = 128
    warmup_epochs: int = 0
    lr: float = 5e-4
    schedule: str = "none"
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 3e-4
    architecture_lr: float = 0.2
    architecture_momentum: float = 0.0
    clip_grad: float = 5.0
    penalty: str = "log"
    pressure: PressureSettings = field(default_factory=PressureSettings)
    imitation: ImitationSettings = field(default_factory=ImitationSettings)
    evaluation_width: int = 36
    min_sparsity: float | None = 250.0
    max_macs: int | None = None
    snapshot_steps: int | None = None
    augment: Augmentation = field(default_factory=lambda: Augmentation(crop="padded", auto_augment="original"))

    def __post_init__(self) -> None:
        if self.penalty not in PENALTIES:
            raise UsageError(f"unknown penalty {self.penalty!r}; {nearest(self.penalty, PENALTIES)}")
        if self.schedule not in SCHEDULES:
            raise UsageError(f"unknown schedule {self.schedule!r}; {nearest(self.schedule, SCHEDULES)}")
        if self.epochs < 1 or self.batch_size < 2 or not 0 <= self.warmup_epochs <= self.epochs:
            raise UsageError(
                "a search has at least one epoch, of which 0 or more warm up, and batches of at least two images, got "
                f"epochs={self.epochs}, warmup_epochs={self.warmup_epochs}, batch_size={self.batch_size}."
            )
        if min(self.lr, self.architecture_lr, self.clip_grad) <= 0 or self.weight_decay < 0:
            raise UsageError(
                "lr, architecture_lr and clip_grad must be positive and weight_decay not negative, got "
                f"{self.lr}, {self.architecture_lr}, {self.clip_grad} and {self.weight_decay}."
            )
        if not all(0 <= share < 1 for share in (*self.betas, self.architecture_momentum)):
            raise UsageError(
                f"betas and architecture_momentum are from 0 up to 1, got {self.betas} and "
                f"{self.architecture_momentum}."
            )
        if self.snapshot_steps is not None and self.snapshot_steps < 1:
            raise UsageError(f"snapshot_steps is at least 1, got {self.snapshot_steps}; null is once an epoch.")


SHRINK_PROFILES = MappingProxyType(
    {
        "cifar": ShrinkSettings(),
        "imagenet": ShrinkSettings(
            epochs=30,
            batch_size=256,
            warmup_epochs=5,
            lr=3e-4,
            architecture_momentum=0.9,
            pressure=IMAGENET_PRESSURE,
            imitation=ImitationSettings(ratios=(1.0, 1.0, 1.0)),
            evaluation_width=48,
            snapshot_steps=1000,
            augment=Augmentation(color_jitter=0.4, scale=(0.08, 1.0)),
        ),
    }
)
"""The authors' constants by data set. Two differences: timm's AutoAugment policy is ImageNet's where theirs is
CIFAR-10's, and the jitter of colours leaves out the hue."""
