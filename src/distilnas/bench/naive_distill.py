"""The released schedule of block-wise distillation, written plainly (Li et al., CVPR 2020, and their public code).

Block after block: a stage trains one block on all batches, and for every batch the teacher runs anew from the images to
the end of that block. Everything is float32 in PyTorch's default memory order with PyTorch's own kernels. One path is
trained per step, with the mean squared error and Adam.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from timm.models import create_feature_extractor
from torch import Tensor, nn

from distilnas.supernet import Supernet

Drawn = tuple[int, tuple[int, ...]]
"""The cell and the path that a step trains."""


class NaiveDistillation:
    """Trains the blocks of ``supernet`` to imitate ``teacher`` at the modules ``taps``, one block a stage."""

    def __init__(self, supernet: Supernet, teacher: nn.Module, taps: Sequence[str], rates: Sequence[float]) -> None:
        teacher.eval().requires_grad_(False)
        self.blocks: list[Any] = list(supernet.train().blocks)
        self.optimizers = [
            torch.optim.Adam(block.parameters(), lr=rate) for block, rate in zip(self.blocks, rates, strict=True)
        ]
        # the teacher cut off after each block; input and target of block i > 0 are both read on the way
        self.teachers = [create_feature_extractor(teacher, list(taps[max(0, i - 1) : i + 1])) for i in range(len(taps))]
        self.taps = taps

    def train_block(self, i: int, steps: Iterable[tuple[Tensor, Drawn]]) -> list[float]:
        """The stage of block ``i``: one update for every batch of images and what is drawn with it; the losses."""
        return [self._step(i, images, drawn) for images, drawn in steps]

    def _step(self, i: int, images: Tensor, drawn: Drawn) -> float:
        with torch.no_grad():
            features = self.teachers[i](images)
        x = images if i == 0 else features[self.taps[i - 1]]
        block, (cell, path) = self.blocks[i], drawn
        self.optimizers[i].zero_grad()
        loss = nn.functional.mse_loss(block.cells[cell](block.entry(x), path), features[self.taps[i]])
        loss.backward()
        self.optimizers[i].step()
        return float(loss.detach())
