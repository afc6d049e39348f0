"""Distances between a student block's output and the teacher's feature, both (B, C, H, W)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
_COSINE_FLOOR = 1e-4


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


def cosine(output: Tensor, target: Tensor) -> Tensor:
    """One minus the cosine similarity of the channel vectors at a pixel, mean over pixels and images; in [0, 2].

    Not in the paper. It compares directions only: the output's scale is free, pixel by pixel. ``_COSINE_FLOOR`` of the
    target's mean squared length is added to squared lengths: outputs start at zero, where the gradient is infinite
    otherwise and an adaptive optimiser takes tiny steps for long. So a perfect imitation has a loss of about the floor.
    """
    output, target = (t.to(torch.promote_types(t.dtype, torch.float32)) for t in (output, target))
    floor = _COSINE_FLOOR * target.square().sum(1).mean()
    lengths = [(vectors.square().sum(1) + floor).sqrt() for vectors in (output, target)]
    return 1 - ((output * target).sum(1) / (lengths[0] * lengths[1])).mean()


LOSSES: dict[str, Loss] = {"relative_mse": relative_mse, "mse": mse, "relative_l1": relative_l1, "cosine": cosine}
