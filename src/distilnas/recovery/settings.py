"""How a student that inherited weights is recovered."""

from dataclasses import dataclass, field, replace

from distilnas.data import Augmentation
from distilnas.errors import UsageError
from distilnas.training import OptimSettings
from distilnas.training.batches import Pieces, check_batch


@dataclass(frozen=True, kw_only=True)
class RecoverySettings:
    """Distillation of the whole student. Its loss is the divergence of the logits at temperature 1, plus ``blocks``
    times the mean relative error of the blocks' outputs, plus ``labels`` times the cross-entropy of the labels.

    How long: ``minutes`` in all, on the machine at hand, or ``epochs``; without both half of the teacher's own fit.
    ``rates``: learning rates, of which the highest that the student bears is taken; each probe takes an equal part of
    ``probe``, a share of the updates. One rate: no probe; none: ``optim.lr`` counts. ``frozen_norm``: for this first
    share of the updates batch norm keeps the statistics that the student came with. ``ema``: decay of the moving
    average of the weights (timm's warm-up: short trainings average less); None: none. Batches as in
    ``ClassifierSettings``.
    """

    epochs: float | None = None
    minutes: float | None = None
    batch_size: int = 64
    micro_batch: int | None = None
    optim: OptimSettings = field(default_factory=lambda: OptimSettings(warmup=0.1))
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    probe: float = 0.1
    augment: Augmentation = field(default_factory=Augmentation)
    blocks: float = 16.0
    labels: float = 0.0
    frozen_norm: float = 0.0
    ema: float | None = 0.999
    clip_grad: float | None = 1.0

    def __post_init__(self) -> None:
        if self.epochs is not None and self.minutes is not None:
            raise UsageError("give a recovery's epochs or its minutes, not both.")
        for name in ("epochs", "minutes", "clip_grad"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"{name} of a recovery must be positive (null: leave it open), got {value}.")
        if self.blocks < 0 or self.labels < 0:
            raise UsageError(f"weights of losses must not be negative, got blocks={self.blocks} labels={self.labels}.")
        if not 0 <= self.frozen_norm <= 1 or not 0 < self.probe <= 0.5:
            raise UsageError(
                "frozen_norm is a share of the updates from 0 to 1 and probe one above 0 up to 0.5, got "
                f"{self.frozen_norm} and {self.probe}."
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise UsageError(f"ema must be between 0 and 1, got {self.ema}.")
        if len(set(self.rates)) < len(self.rates) or any(not rate > 0 for rate in self.rates):
            raise UsageError(f"rates are distinct positive learning rates, got {list(self.rates)}.")
        check_batch(self.batch_size, self.micro_batch)

    @property
    def probes(self) -> int:
        """How many learning rates are tried."""
        return len(self.rates) if len(self.rates) > 1 else 0

    def at(self, rate: float) -> "RecoverySettings":
        """With this learning rate, which is for the batch at hand."""
        return replace(self, optim=replace(self.optim, lr=rate, lr_base_size=None), rates=())

    def pieces(self, images: int) -> Pieces:
        """How an update passes where only so many images are there."""
        return Pieces.of(images, self.batch_size, self.micro_batch)
