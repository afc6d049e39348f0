"""Turns the layers of a network into those with fast kernels."""

from timm.layers import BatchNormAct2d, Conv2dSame
from timm.models._efficientnet_blocks import InvertedResidual, SqueezeExcite
from torch import nn

from distilnas.kernels.batch_norm import FastBatchNorm2d, FastBatchNormAct2d
from distilnas.kernels.build import library
from distilnas.kernels.depthwise import DepthwiseConv2d, DepthwiseConv2dSame, is_depthwise
from distilnas.kernels.inverted_residual import FastInvertedResidual
from distilnas.kernels.pointwise import PointwiseConv2d, is_pointwise
from distilnas.kernels.squeeze_excite import FastSqueezeExcite

_FAST: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: FastBatchNorm2d,
    BatchNormAct2d: FastBatchNormAct2d,
    InvertedResidual: FastInvertedResidual,
    SqueezeExcite: FastSqueezeExcite,
}


def use_fast_kernels(module: nn.Module) -> int:
    """Let the layers in ``module`` that have fast kernels use them on a CPU; returns how many it turned.

    Turned are depthwise (``is_depthwise``) and 1x1 convolutions, batch norms, squeeze-and-excites and inverted
    residuals, of exactly PyTorch's or timm's class.
    The objects stay the same, and so do references to them, parameters, hooks and the state dict. Where the kernels
    cannot be compiled, or are turned off (``DISTILNAS_KERNELS=off``), nothing changes.
    """
    turned = [(layer, fast) for layer in module.modules() if (fast := _fast_class(layer))]
    if not turned or library() is None:
        return 0
    for layer, fast in turned:
        layer.__class__ = fast  # as torch.nn.utils.parametrize does
    return len(turned)


def _fast_class(layer: nn.Module) -> type[nn.Module] | None:
    if type(layer) is nn.Conv2d:
        return DepthwiseConv2d if is_depthwise(layer) else PointwiseConv2d if is_pointwise(layer) else None
    if type(layer) is Conv2dSame:
        return DepthwiseConv2dSame if is_depthwise(layer) else None  # type: ignore[arg-type]  timm hides its class
    return _FAST.get(type(layer))
