"""Rating one candidate at a time, written plainly after DNA's public code.

Every candidate starts at the block's input, and before the pass that gives its score another one sets its batch-norm
statistics. Everything is float32 in PyTorch's default memory order.
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from distilnas.supernet import SuperBlock

Path = tuple[int, ...]


class NaiveRating:
    """Relative L1 (DNA, equation 9) of candidates of one cell of ``block``; works on a copy."""

    def __init__(self, block: SuperBlock, cell: int) -> None:
        block = copy.deepcopy(block).eval()
        self.entry: Any = block.entry
        self.cell: Any = block.cells[cell]
        self.norms = [layer for layer in block.modules() if isinstance(layer, nn.BatchNorm2d)]
        for norm in self.norms:
            norm.track_running_stats = True
            for name in ("running_mean", "running_var"):
                norm.register_buffer(name, torch.zeros_like(norm.weight))

    @torch.no_grad()
    def rate(self, paths: Iterable[Path], feature: Tensor, target: Tensor, std: float) -> list[float]:
        """Mean |target - output| / std of each path, on features (B, C, H, W) before and after the block."""
        ratings = []
        for path in paths:
            self._recalibrate(path, feature)
            output = self.cell(self.entry(feature), path)
            ratings.append(float((target - output).abs().mean()) / std)
        return ratings

    def _recalibrate(self, path: Path, feature: Tensor) -> None:
        """Running statistics := those of this path on ``feature``, biased variance as batch norm itself uses it."""
        handles = [norm.register_forward_pre_hook(_measure) for norm in self.norms]
        self.cell(self.entry(feature), path)
        for handle in handles:
            handle.remove()


def _measure(norm: Any, inputs: tuple[Tensor]) -> None:
    var, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(var)
