"""Exact counts of multiply-adds and parameters, on the meta device: shapes only, no arithmetic, no memory.

``macs`` (papers print "FLOPs") are those of convolutions, linear layers and attention for one image, counted operator
by operator (``operators``). ``paper_flops`` counts as the DNA authors did: MACs of convolutions and linear layers (not
of attention), one per output element where a convolution has a bias, 2 per input element of every affine batch norm,
1 per input element of pooling layers.
"""

from typing import NamedTuple

from timm.layers.adaptive_avgmax_pool import FastAdaptiveAvgPool
from torch import Tensor, nn

from distilnas.costing.operators import Products
from distilnas.costing.running import hollow_of, run_hollow

_NORMS = (nn.modules.batchnorm._BatchNorm,)
_POOLS = (
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    FastAdaptiveAvgPool,
)


class Counts(NamedTuple):
    """Counts for one input, and the output's ``shape`` without batch."""

    macs: int
    paper_flops: int
    shape: tuple[int, ...]
    attention_macs: int


def count_params(model: nn.Module) -> int:
    """Number of parameters (buffers excluded)."""
    return sum(p.numel() for p in model.parameters())


def count(model: nn.Module, shape: tuple[int, ...]) -> Counts:
    """Counts of ``model`` for one input of ``shape`` (without batch); the model itself is not changed.

    Raises ``UsageError`` where the model does an operation that no rule covers: nothing is silently counted as 0.
    """
    hollow = hollow_of(model)
    with _Free(hollow) as free:
        output, products = run_hollow(hollow, shape, Products)
    return Counts(
        macs=products.macs,
        paper_flops=products.macs - products.attention_macs + products.conv_biases + free.flops,
        shape=tuple(output.shape[1:]),
        attention_macs=products.attention_macs,
    )


class _Free:
    """What the papers' count adds for layers of ``model`` without products, while it is entered."""

    def __init__(self, model: nn.Module) -> None:
        self.flops = 0
        layers = (module for module in model.modules() if isinstance(module, (*_NORMS, *_POOLS)))
        self._handles = [layer.register_forward_hook(self._add) for layer in layers]

    def __enter__(self) -> "_Free":
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _add(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not isinstance(module, _NORMS):
            self.flops += inputs[0].numel()
        elif module.affine:
            self.flops += 2 * inputs[0].numel()
