"""What enters a student block while it trains: the teacher's feature before it, or the student's own."""

from collections.abc import Sequence

import torch
from torch import Tensor

from distilnas.methods.dna.sampling import Path
from distilnas.runtime.device import Device
from distilnas.supernet import SuperBlock

FEEDS = ("teacher", "student")


@torch.no_grad()
def student_features(
    blocks: Sequence[SuperBlock], images: Tensor, candidates: Sequence[tuple[int, Path]], device: Device
) -> list[Tensor]:
    """[X_0 = images, X_1, ..., X_n]: what ``blocks`` give out one after the other, block j along ``candidates[j]``.

    A candidate is (cell, path). Batch norm uses the statistics of these images. The features are without gradient: a
    block that is fed with one of them trains itself alone.
    """
    features = [images]
    for block, (cell, path) in zip(blocks, candidates, strict=True):
        with device.autocast():
            features.append(block.cells[cell](block.entry(features[-1]), path))
    return features
