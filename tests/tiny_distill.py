"""Distillation of the tiny supernet, and a look at what enters its blocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tiny_dna import DEVICE, Pairs, some_batches, tiny_loop, tiny_supernet, tiny_teacher
from torch import Tensor

from distilnas.methods.dna import DistillSettings, distill
from distilnas.methods.dna.distill import BlockwiseTraining
from distilnas.supernet import Supernet
from distilnas.training import TrainingLog

NO_CHECKPOINT = Path("none")


def labelled(number: int = 3, size: int = 4, seed: int = 5) -> Pairs:
    """``some_batches`` with labels of both classes."""
    return [(images, torch.arange(size) % 2) for images, _ in some_batches(number, size, seed)]


def distilled(
    checkpoint: Path | None = None, *, killed_after: int | None = None, **changes: Any
) -> tuple[Supernet, TrainingLog]:
    """Two epochs of three batches; with a ``checkpoint`` one is written after every step."""
    supernet = tiny_supernet(trained=True)
    seconds = None if checkpoint is None else 0.0
    loop = tiny_loop(checkpoint or NO_CHECKPOINT, killed_after=killed_after, checkpoint_seconds=seconds)
    log = distill(supernet, tiny_teacher(), DistillSettings(epochs=2, **changes), loop, device=DEVICE, seed=3)
    return supernet, log


def training_of(supernet: Supernet, *, seed: int = 3, epochs: int = 2, **changes: Any) -> BlockwiseTraining:
    """The training of ``supernet``, to be stepped by hand."""
    settings, loop = DistillSettings(**changes), tiny_loop(NO_CHECKPOINT, epochs)
    return BlockwiseTraining(supernet, tiny_teacher(), settings, loop, device=DEVICE, seed=seed)


def gradients(supernet: Supernet, b: int) -> list[Tensor | None]:
    """Of the block's parameters, copied."""
    return [None if p.grad is None else p.grad.clone() for p in supernet.blocks[b].parameters()]


@contextmanager
def entering(supernet: Supernet, b: int) -> Iterator[list[Tensor]]:
    """The inputs of block ``b``, gathered while it trains."""
    seen: list[Tensor] = []
    block: Any = supernet.blocks[b]
    handle = block.entry.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].clone()) if torch.is_grad_enabled() else None
    )
    try:
        yield seen
    finally:
        handle.remove()
