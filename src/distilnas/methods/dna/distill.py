"""Block-wise distillation: every student block learns to turn the teacher's feature before it into the one after it.

One frozen teacher pass per batch feeds all blocks. Blocks share nothing else: each has its own loss, optimiser,
schedule and random numbers, so any subset of them, in any order, trains to the same weights as all together (DNA,
section 3.2, equations 5 and 6). The baselines of the paper's ablation are settings (``DistillSettings``).
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from timm.scheduler.scheduler import Scheduler
from torch import Tensor
from torch.optim import Optimizer

from distilnas.methods.dna.feeding import student_features
from distilnas.methods.dna.labels import LabelLoss
from distilnas.methods.dna.losses import LOSSES, Loss
from distilnas.methods.dna.sampling import SAMPLERS, Path
from distilnas.methods.dna.schedule import side_by_side, staged, stages
from distilnas.methods.dna.settings import DistillSettings
from distilnas.runtime import ranks
from distilnas.runtime.device import Device
from distilnas.runtime.seeds import derive_rng
from distilnas.supernet import SuperBlock, SuperCell, Supernet
from distilnas.teachers import TeacherBlocks
from distilnas.training.loop import Loop, TrainingLog
from distilnas.training.optim import make_optimizer, make_scheduler


def distill(
    supernet: Supernet, teacher: TeacherBlocks, settings: DistillSettings, loop: Loop, *, device: Device, seed: int
) -> TrainingLog:
    """Train the supernet's blocks in place, each for the epochs of ``loop``, which gives batches of (images, labels).

    Labels are used with ``label_loss`` only. The log has the mean training loss per epoch of a block as ``block 1`` ...
    (with ``mse`` it is not relative), in the same form for any order.
    """
    training = BlockwiseTraining(supernet, teacher, settings, loop, device=device, seed=seed)
    log = staged(loop, len(training.stages)).run(training)
    return replace(log, epochs=side_by_side(log.epochs, loop.epochs))


def block_step(
    block: SuperBlock,
    x: Tensor,
    target: Tensor,
    paths: list[list[Path]],
    loss: Loss,
    device: Device,
    *,
    share: float = 1.0,
) -> Tensor:
    """Add ``share`` of the gradients of one step of one block; returns its mean loss over cells and paths, detached.

    ``paths[c]`` are the paths of cell c, none if it does not train now; a cell's gradient is the mean over them. The
    cells run one after the other and each frees its activations before the next, the shared entry (stem or adapter)
    runs once. A path without parameters (identities only, equal widths) adds none.
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
                device.fabric.backward(value * share / len(cell_paths))
            total += value.detach() / len(cell_paths)
    if entered.requires_grad:
        torch.autograd.backward(entered, shared.grad)
    return total / sum(map(bool, paths))


def cell_shares(block: SuperBlock) -> np.ndarray:
    """How often each cell trains when not all do, adding up to 1: in proportion to the ops of its widest layer, so that
    ops of one cell train as often as those of another; never where there is nothing to train."""
    entry = any(True for _ in block.entry.parameters())
    cells: list[SuperCell] = list(block.cells)  # type: ignore[arg-type]
    turns = [max(cell.spec.shape, default=1) if entry or any(True for _ in cell.parameters()) else 0 for cell in cells]
    return np.array(turns if any(turns) else [1] * len(turns)) / (sum(turns) or len(turns))


class BlockwiseTraining:
    """The ``Trainable`` of block-wise distillation, for the ``staged`` form of ``loop``."""

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
        self.teacher, self.settings, self.device, self.seed = teacher, settings, device, seed
        self.loss, self.sampler = LOSSES[settings.loss], SAMPLERS[settings.sampling]
        self.label_loss = LabelLoss(teacher, device) if settings.label_loss else None
        self.epochs, self.steps_per_epoch = loop.epochs, loop.steps_per_epoch
        self.specs = supernet.space.body
        indices = settings.block_indices(len(self.specs))
        self.stages = stages(settings.order, indices)
        self.blocks: dict[int, SuperBlock] = {}
        for i in indices:
            self.blocks[i] = device.module(supernet.blocks[i]).train()  # type: ignore[assignment]
        self.shares = {i: cell_shares(block) for i, block in self.blocks.items()}
        self._begin(0)

    def _begin(self, stage: int) -> None:
        """Make optimisers and schedules of the blocks that train in ``stage``; all stages have equally many."""
        self.stage = stage
        self.loss_names = tuple(f"block {i + 1}" for i in self.stages[stage])
        self.optimizers: dict[int, Optimizer] = {}
        self.schedulers: dict[int, Scheduler] = {}
        for i in self.stages[stage]:
            optim = self.settings.block_optim(i, len(self.specs))
            self.optimizers[i] = make_optimizer(self.blocks[i], optim)
            self.schedulers[i] = make_scheduler(
                self.optimizers[i], optim, epochs=self.epochs, steps_per_epoch=self.steps_per_epoch
            )

    def step(self, batch: tuple[Tensor, Tensor], epoch: int, step: int) -> Tensor:
        images, labels = self.device.images(batch[0]), batch[1]
        for i, scheduler in self.schedulers.items():
            scheduler.step_update(epoch % self.epochs * self.steps_per_epoch + step)
            self.optimizers[i].zero_grad(set_to_none=True)
        pieces = max(1, len(images) // (self.settings.micro_batch or len(images)))
        losses = torch.zeros(len(self.optimizers), device=images.device)
        for some, theirs in zip(images.tensor_split(pieces), labels.tensor_split(pieces), strict=True):
            share = len(some) / len(images)
            losses += share * self.add_gradients(some, theirs, share, epoch, step)
        ranks.average_gradients(self.optimizers.values(), losses)
        for optimizer in self.optimizers.values():
            optimizer.step()
        return losses

    def add_gradients(self, images: Tensor, labels: Tensor, share: float, epoch: int, step: int) -> Tensor:
        """Add ``share`` of the gradients of ``images`` to all blocks that train now; their losses."""
        with self.device.autocast():
            targets = self.teacher.features(images)
        inputs = targets if self.settings.feed == "teacher" else self.student_inputs(images, epoch, step)
        losses = []
        for i in self.stages[self.stage]:
            loss = self.block_loss(i, images, labels)
            paths = self.paths(i, epoch % self.epochs, step)
            losses.append(block_step(self.blocks[i], inputs[i], targets[i + 1], paths, loss, self.device, share=share))
        return torch.stack(losses)

    def student_inputs(self, images: Tensor, epoch: int, step: int) -> list[Tensor]:
        """The inputs of all blocks up to the last that trains now, each from the student's blocks before it.

        Among blocks that train together the path is one that they train in this step. Finished blocks draw anew: to
        them the loop's epoch is none that they were trained in.
        """
        before = range(max(self.stages[self.stage]))
        candidates = [self.candidate(j, epoch, step) for j in before]
        return student_features([self.blocks[j] for j in before], images, candidates, self.device)

    def block_loss(self, block: int, images: Tensor, labels: Tensor) -> Loss:
        """The distance to the teacher's feature and, where it is asked for, the loss of the labels."""
        if self.label_loss is None:
            return self.loss
        self.label_loss.check(labels)
        known, through_teacher = self.device.tensor(labels), self.label_loss

        def both(output: Tensor, target: Tensor) -> Tensor:
            guided = through_teacher(block + 1, output, images, known)
            return self.loss(output, target) + self.settings.label_loss * guided

        return both

    def paths(self, block: int, epoch: int, step: int) -> list[list[Path]]:
        """The paths of a step, cell by cell: a function of (seed, block, cell, epoch, step) alone."""
        families = self.specs[block].families
        chosen = self.chosen_cells(block, epoch, step)
        return [
            self.sampler(family.shape, derive_rng(self.seed, 2, epoch, step, block, c)) if c in chosen else []
            for c, family in enumerate(families)
        ]

    def chosen_cells(self, block: int, epoch: int, step: int) -> set[int]:
        """The cells that train in a step: all, or some by their ``cell_shares``."""
        shares, wanted = self.shares[block], self.settings.cells_per_step
        if wanted is None or wanted >= len(shares):
            return set(range(len(shares)))
        rng = derive_rng(self.seed, 11, epoch, step, block)
        return {int(c) for c in rng.choice(len(shares), min(wanted, np.count_nonzero(shares)), replace=False, p=shares)}

    def candidate(self, block: int, epoch: int, step: int) -> tuple[int, Path]:
        """One of the step's cells, each equally likely, and the first of its ``paths``."""
        paths = self.paths(block, epoch, step)
        training = [c for c, cell_paths in enumerate(paths) if cell_paths]
        cell = training[int(derive_rng(self.seed, 10, epoch, step, block).integers(len(training)))]
        return cell, paths[cell][0]

    def end_epoch(self, epoch: int) -> dict[str, float]:
        following = (epoch + 1) // self.epochs
        if self.stage < following < len(self.stages):
            self._begin(following)
        return {}

    def state_dict(self) -> dict[Any, Any]:
        return {
            "stage": self.stage,
            "weights": {i: block.state_dict() for i, block in self.blocks.items()},
            "optimizers": {i: optimizer.state_dict() for i, optimizer in self.optimizers.items()},
        }

    def load_state_dict(self, state: dict[Any, Any]) -> None:
        self._begin(state["stage"])
        for i, block in self.blocks.items():
            block.load_state_dict(state["weights"][i])
        for i, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][i])
