"""Block-wise distillation: every student block learns to turn the teacher's feature before it into the one after it.

One frozen teacher pass per batch feeds all blocks. Blocks share nothing else: each has its own loss, optimiser,
schedule and random numbers, so any subset of them trains to the same weights as all together (DNA, section 3.2,
equations 5 and 6).
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from distilnas.data import Augmentation
from distilnas.errors import UsageError, nearest
from distilnas.methods.dna.losses import LOSSES, Loss
from distilnas.methods.dna.sampling import SAMPLERS, Path
from distilnas.runtime.device import Device
from distilnas.runtime.seeds import derive_rng
from distilnas.supernet import SuperBlock, Supernet
from distilnas.teachers import TeacherBlocks
from distilnas.training.loop import Loop, TrainingLog
from distilnas.training.optim import OptimSettings, make_optimizer, make_scheduler


@dataclass(frozen=True, kw_only=True)
class DistillSettings:
    """How the supernet is trained.

    ``lr_per_block`` overrides ``optim.lr`` block by block. ``blocks`` trains these blocks only (numbers from 1; None:
    all).
    """

    epochs: int = 20
    batch_size: int = 64
    loss: str = "relative_mse"
    sampling: str = "uniform"
    adapters: Literal["project", "absorb"] = "project"
    optim: OptimSettings = field(default_factory=lambda: OptimSettings(optimizer="adam", lr=5e-3, warmup=0.05))
    lr_per_block: tuple[float, ...] | None = None
    blocks: tuple[int, ...] | None = None
    augment: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for what, value, valid in (("loss", self.loss, LOSSES), ("sampling", self.sampling, SAMPLERS)):
            if value not in valid:
                raise UsageError(f"unknown distillation {what} {value!r}; {nearest(value, valid)}")
        if self.epochs < 0 or self.batch_size < 2:
            raise UsageError(
                f"epochs must not be negative and batch_size at least 2, got {self.epochs} and {self.batch_size}."
            )

    def block_indices(self, number: int) -> tuple[int, ...]:
        """Indices (from 0) of the blocks to train among ``number``."""
        wanted = self.blocks or tuple(range(1, number + 1))
        bad = [b for b in wanted if not 1 <= b <= number]
        if bad:
            raise UsageError(f"distill.blocks names block {bad[0]}; there are blocks 1 to {number}.")
        return tuple(sorted({b - 1 for b in wanted}))

    def block_optim(self, block: int, number: int) -> OptimSettings:
        """Optimiser settings of a block (index from 0) among ``number``."""
        if self.lr_per_block is None:
            return self.optim
        if len(self.lr_per_block) != number:
            raise UsageError(
                f"distill.lr_per_block needs one value for each of {number} blocks, got {len(self.lr_per_block)}."
            )
        return replace(self.optim, lr=self.lr_per_block[block])


def distill(
    supernet: Supernet, teacher: TeacherBlocks, settings: DistillSettings, loop: Loop, *, device: Device, seed: int
) -> TrainingLog:
    """Train the supernet's blocks in place; ``loop`` gives batches of (images, labels), labels unused.

    The log has the mean training loss per epoch and block as ``block 1`` ... (with ``mse`` it is not relative).
    """
    return loop.run(BlockwiseTraining(supernet, teacher, settings, loop, device=device, seed=seed))


def block_step(
    block: SuperBlock, x: Tensor, target: Tensor, paths: list[list[Path]], loss: Loss, device: Device
) -> Tensor:
    """Add the gradients of one step of one block; returns its mean loss over cells and paths, detached.

    ``paths[c]`` are the paths of cell c; a cell's gradient is the mean over them. The cells run one after the other and
    each frees its activations before the next, the shared entry (stem or adapter) runs once. A path without parameters
    (identities only, equal widths) adds none.
    """
    with device.autocast():
        entered = block.entry(x)
    shared = entered.detach().requires_grad_(entered.requires_grad)
    total = torch.zeros((), device=x.device)
    for cell, cell_paths in zip(block.cells, paths, strict=True):
        for path in cell_paths:
            with device.autocast():
                value = loss(cell(shared, path), target)
            if value.requires_grad:
                device.fabric.backward(value / len(cell_paths))
            total += value.detach() / len(cell_paths)
    if entered.requires_grad:
        torch.autograd.backward(entered, shared.grad)
    return total / len(paths)


class BlockwiseTraining:
    """The ``Trainable`` of block-wise distillation."""

    def __init__(
        self,
        supernet: Supernet,
        teacher: TeacherBlocks,
        settings: DistillSettings,
        loop: Loop,
        *,
        device: Device,
        seed: int,
    ) -> None:
        self.teacher, self.device, self.seed = teacher, device, seed
        self.loss, self.sampler = LOSSES[settings.loss], SAMPLERS[settings.sampling]
        self.steps_per_epoch = loop.steps_per_epoch
        number = len(supernet.blocks)
        self.indices = settings.block_indices(number)
        self.loss_names = tuple(f"block {i + 1}" for i in self.indices)
        self.specs = supernet.space.blocks
        self.blocks: dict[int, SuperBlock] = {}
        self.optimizers: dict[int, Optimizer] = {}
        self.schedulers = {}
        for i in self.indices:
            optim = settings.block_optim(i, number)
            self.blocks[i] = device.module(supernet.blocks[i]).train()  # type: ignore[assignment]
            self.optimizers[i] = make_optimizer(self.blocks[i], optim)
            self.schedulers[i] = make_scheduler(
                self.optimizers[i], optim, epochs=loop.epochs, steps_per_epoch=loop.steps_per_epoch
            )

    def step(self, batch: tuple[Tensor, Tensor], epoch: int, step: int) -> Tensor:
        images = self.device.images(batch[0])
        with self.device.autocast():
            features = self.teacher.features(images)
        losses = []
        for i in self.indices:
            self.schedulers[i].step_update(epoch * self.steps_per_epoch + step)
            self.optimizers[i].zero_grad(set_to_none=True)
            paths = self.paths(i, epoch, step)
            losses.append(block_step(self.blocks[i], features[i], features[i + 1], paths, self.loss, self.device))
            self.optimizers[i].step()
        return torch.stack(losses)

    def paths(self, block: int, epoch: int, step: int) -> list[list[Path]]:
        """The paths of a step, cell by cell: a function of (seed, block, cell, epoch, step) alone."""
        return [
            self.sampler(cell.shape, derive_rng(self.seed, 2, epoch, step, block, c))
            for c, cell in enumerate(self.specs[block].cells)
        ]

    def end_epoch(self, epoch: int) -> dict[str, float]:
        return {}

    def state_dict(self) -> dict[Any, Any]:
        return {
            i: {"weights": self.blocks[i].state_dict(), "optimizer": self.optimizers[i].state_dict()}
            for i in self.indices
        }

    def load_state_dict(self, state: dict[Any, Any]) -> None:
        for i in self.indices:
            self.blocks[i].load_state_dict(state[i]["weights"])
            self.optimizers[i].load_state_dict(state[i]["optimizer"])
