"""Exact counts of parameters and multiply-adds, on the meta device: shapes only, no arithmetic, no memory.

``macs`` (papers print "FLOPs") are those of convolutions, linear layers and attention for one image, counted operator
by operator (``operators``). ``paper_flops`` counts as the DNA authors did: MACs of convolutions and linear layers (not
of attention), one per output element where a convolution has a bias, 2 per input element of every affine batch norm,
1 per input element of pooling layers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from timm.layers.adaptive_avgmax_pool import FastAdaptiveAvgPool
from torch import Tensor, nn

from distilnas.costing.operators import Products
from distilnas.errors import UsageError
from distilnas.runtime.skeletons import skeleton

_NORMS = (nn.modules.batchnorm._BatchNorm,)
_POOLS = (
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    FastAdaptiveAvgPool,
)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Counts for one image at ``resolution``; ``attention_macs`` are the part of ``macs`` that multiplies activations
    with activations."""

    params: int
    macs: int
    attention_macs: int
    paper_flops: int
    resolution: int


class Counts(NamedTuple):
    """Counts for one input, and the output's ``shape`` without batch."""

    macs: int
    paper_flops: int
    shape: tuple[int, ...]
    attention_macs: int


def count_params(model: nn.Module) -> int:
    """Number of parameters (buffers excluded)."""
    return sum(p.numel() for p in model.parameters())


def profile(model: nn.Module, resolution: int, *, in_chans: int = 3) -> Profile:
    """Count a classifier for one (in_chans, resolution, resolution) image; the model itself is not run or changed."""
    counts = count(model, (in_chans, resolution, resolution))
    return Profile(
        params=count_params(model),
        macs=counts.macs,
        attention_macs=counts.attention_macs,
        paper_flops=counts.paper_flops,
        resolution=resolution,
    )


def count(model: nn.Module, shape: tuple[int, ...]) -> Counts:
    """Counts of ``model`` for one input of ``shape`` (without batch); the model itself is not run or changed.

    Raises ``UsageError`` where the model does an operation that no rule covers: nothing is silently counted as 0.
    """
    return count_owned(skeleton(model), shape)


def count_owned(model: nn.Module, shape: tuple[int, ...]) -> Counts:
    """``count`` of a network on the meta device that nobody else uses: it is set to eval mode and keeps hooks."""
    free = _Free()
    for module in model.eval().modules():
        if isinstance(module, (*_NORMS, *_POOLS)):
            module.register_forward_hook(free.add)
    image = torch.empty(1, *shape, device="meta")
    try:
        with torch.inference_mode(False), torch.no_grad(), torch.device("meta"), Products(image) as products:
            output = model(image)
    except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"cannot count {type(model).__name__} for an input of {shape}: {error}") from error
    return Counts(
        macs=products.macs,
        paper_flops=products.macs - products.attention_macs + products.conv_biases + free.flops,
        shape=tuple(output.shape[1:]),
        attention_macs=products.attention_macs,
    )


class _Free:
    """What the papers' count adds for layers without products."""

    def __init__(self) -> None:
        self.flops = 0

    def add(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not isinstance(module, _NORMS):
            self.flops += inputs[0].numel()
        elif module.affine:
            self.flops += 2 * inputs[0].numel()
