"""Settings of block-wise distillation: DNA by default, and the baselines of its ablation as other values."""

from dataclasses import dataclass, field, replace
from typing import Literal

from distilnas.data import Augmentation
from distilnas.errors import UsageError, nearest
from distilnas.methods.dna.feeding import FEEDS
from distilnas.methods.dna.losses import LOSSES
from distilnas.methods.dna.sampling import SAMPLERS
from distilnas.methods.dna.schedule import ORDERS
from distilnas.runtime import ranks
from distilnas.training.optim import OptimSettings


@dataclass(frozen=True, kw_only=True)
class DistillSettings:
    """How the supernet is trained.

    ``feed``: what enters a block whose target is the teacher's feature after it. ``teacher``: the teacher's feature
    before it (DNA). ``student``: what the student's own blocks before it make of the images. The paper does not say
    along which path; here it is one of a cell drawn uniformly, drawn anew in every step, without gradient, and with the
    batch-norm statistics of the batch.

    ``order``: ``together`` (all blocks in every step), ``forward`` or ``reverse`` (one after the other, from the first
    or from the last; a block is finished before the next begins). Every block trains for ``epochs`` epochs of the same
    batches in any order; with ``feed=teacher`` it ends with the same weights.

    The paper's baselines are S1: ``feed=student order=forward`` (inputs from trained, now frozen blocks) and
    S2: ``feed=student order=together`` (inputs along the path that the blocks before it train in this very step, with
    the weights before the step). The paper describes both in a few words only, so this is our reading.

    ``label_loss``: weight of the labels' cross entropy when a block's output goes on through the rest of the frozen
    teacher; added to ``loss``, and to the logged losses. ``micro_batch``: a batch is worked through in pieces of so
    many images, and the gradients are averaged into one update: less memory, but batch norm and the relative losses see
    a piece only. ``cells_per_step``: so many cells of a block train in a step, drawn anew each time, those with more
    ops to choose from more often (None: all of them, as in DNA); a block of many cells then takes no longer.
    ``adapters``: what stands between the widths of student and teacher, see ``distilnas.supernet``.
    ``lr_per_block`` overrides ``optim.lr`` block by block. ``blocks`` trains these blocks only (numbers from 1; None:
    all).
    """

    epochs: int = 20
    batch_size: int = 64
    micro_batch: int | None = None
    loss: str = "relative_mse"
    label_loss: float = 0.0
    feed: str = "teacher"
    order: str = "together"
    sampling: str = "uniform"
    cells_per_step: int | None = None
    adapters: Literal["project", "linear", "absorb"] = "linear"
    optim: OptimSettings = field(default_factory=lambda: OptimSettings(optimizer="adam", lr=5e-3, warmup=0.05))
    lr_per_block: tuple[float, ...] | None = None
    blocks: tuple[int, ...] | None = None
    augment: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for what, value, valid in (
            ("loss", self.loss, LOSSES),
            ("feed", self.feed, FEEDS),
            ("order", self.order, ORDERS),
            ("sampling", self.sampling, SAMPLERS),
        ):
            if value not in valid:
                raise UsageError(f"unknown distillation {what} {value!r}; {nearest(value, valid)}")
        if self.epochs < 0 or self.batch_size < 2:
            raise UsageError(
                f"epochs must not be negative and batch_size at least 2, got {self.epochs} and {self.batch_size}."
            )
        if self.micro_batch is not None and (self.micro_batch < 2 or self.batch_size % self.micro_batch):
            raise UsageError(
                f"distill.micro_batch must be at least 2 and divide distill.batch_size={self.batch_size}, "
                f"got {self.micro_batch}; leave it out to take a batch as a whole."
            )
        ranks.check_shares(self.batch_size, self.micro_batch)
        if self.cells_per_step is not None and self.cells_per_step < 1:
            raise UsageError(
                f"distill.cells_per_step must be at least 1, got {self.cells_per_step}; null is all cells."
            )
        if not 0 <= self.label_loss < float("inf"):
            raise UsageError(
                f"distill.label_loss is a weight and must not be negative, got {self.label_loss}; 0 is none."
            )
        if self.feed == "student" and self.order == "reverse":
            raise UsageError(
                "with distill.feed=student a block needs the blocks before it, but distill.order=reverse trains them "
                "later; use order=forward or together, or feed=teacher."
            )

    def block_indices(self, number: int) -> tuple[int, ...]:
        """Indices (from 0) of the blocks to train among ``number``; with ``feed=student`` the first ones."""
        wanted = self.blocks or tuple(range(1, number + 1))
        bad = [b for b in wanted if not 1 <= b <= number]
        if bad:
            raise UsageError(f"distill.blocks names block {bad[0]}; there are blocks 1 to {number}.")
        indices = tuple(sorted({b - 1 for b in wanted}))
        if self.feed == "student" and indices != tuple(range(len(indices))):
            raise UsageError(
                f"with distill.feed=student the blocks before a trained one must be trained too, got distill.blocks="
                f"{list(wanted)}; name blocks 1 to {max(wanted)}, or use feed=teacher."
            )
        return indices

    def block_optim(self, block: int, number: int) -> OptimSettings:
        """Optimiser settings of a block (index from 0) among ``number``, the rate as it is for our batch."""
        if self.lr_per_block is None:
            return self.optim.for_batch(self.batch_size)
        if len(self.lr_per_block) != number:
            raise UsageError(
                f"distill.lr_per_block needs one value for each of {number} blocks, got {len(self.lr_per_block)}."
            )
        return replace(self.optim, lr=self.lr_per_block[block]).for_batch(self.batch_size)
