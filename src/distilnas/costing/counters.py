"""Exact counts of multiply-adds and parameters, on the meta device: shapes only, no arithmetic, no memory.

``macs`` (papers print "FLOPs") are those of convolutions, linear layers and attention for one image, counted operator
by operator (``operators``). ``paper_flops`` counts as the DNA authors did: MACs of convolutions and linear layers (not
of attention), one per output element where a convolution has a bias, 2 per input element of every affine batch norm,
1 per input element of pooling layers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
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
    hollow = model if _on_meta(model) else skeleton(model)
    with _evaluating(hollow), _Free(hollow) as free:
        output, products = _run(hollow, shape)
    return Counts(
        macs=products.macs,
        paper_flops=products.macs - products.attention_macs + products.conv_biases + free.flops,
        shape=tuple(output.shape[1:]),
        attention_macs=products.attention_macs,
    )


def _run(model: nn.Module, shape: tuple[int, ...]) -> tuple[Tensor, Products]:
    image = torch.empty(1, *shape, device="meta")
    try:
        with torch.inference_mode(False), torch.no_grad(), Products(image) as products:
            return model(image), products
    except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"cannot count {type(model).__name__} for an input of {shape}: {error}") from error


def _on_meta(model: nn.Module) -> bool:
    return all(tensor.is_meta for tensor in chain(model.parameters(), model.buffers()))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """In eval mode, and afterwards every module in its own."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


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
