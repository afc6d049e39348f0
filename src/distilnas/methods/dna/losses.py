"""Distances between a student block's output and the teacher's feature, both (B, C, H, W)."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error (DNA, equation 5)."""
    return F.mse_loss(output, target)


def relative_mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error over the target's variance: 1 is what the constant mean reaches, so blocks can be compared.

    The paper divides only when rating; as a training loss it differs from ``mse`` by a factor per block and batch.
    """
    return F.mse_loss(output, target) / target.var(correction=0)


def relative_l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over the target's standard deviation (DNA, equation 9, there for rating)."""
    return F.l1_loss(output, target) / target.std(correction=0)


LOSSES: dict[str, Loss] = {"relative_mse": relative_mse, "mse": mse, "relative_l1": relative_l1}
