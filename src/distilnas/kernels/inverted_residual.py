"""Inverted residuals that do not learn: from one 1x1 convolution to the next in one run over memory on the CPU."""

import ctypes
from typing import Any

import torch
from timm.layers import Conv2dSame
from timm.layers.padding import get_same_padding
from timm.models._efficientnet_blocks import InvertedResidual
from torch import Tensor, nn

from distilnas.kernels.batch_norm import ACTS, FastBatchNormAct2d
from distilnas.kernels.calling import DTYPES, call, is_plain
from distilnas.kernels.depthwise import DepthwiseConv2d, DepthwiseConv2dSame, is_depthwise_kernel
from distilnas.kernels.squeeze_excite import FastSqueezeExcite

_LANES = 16  # channels that the kernel reads of the taps at a time, at most


class FastInvertedResidual(InvertedResidual):
    """timm's ``InvertedResidual`` that is fast in eval mode without gradient on the CPU; made by ``use_fast_kernels``.

    State and results are timm's within rounding: in bfloat16 what lies between its layers is no longer rounded.
    Whatever our kernel does not cover goes timm's way, layer by layer: training, other devices and precisions, layers
    with hooks, tracing, export and compilation.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not _covers(self, x):
            return super().forward(x)
        expanded = self.conv_pw(x)
        if expanded.dtype in DTYPES and expanded.is_contiguous(memory_format=torch.channels_last):
            inner, mean = _stage(self, expanded)
            inner = self.se.excite(inner, mean) if isinstance(self.se, FastSqueezeExcite) else self.se(inner)
        else:
            inner = self.se(self.bn2(self.conv_dw(self.bn1(expanded))))
        output = self.bn3(self.conv_pwl(inner))
        return self.drop_path(output) + x if self.has_skip else output  # type: ignore[operator]


def _covers(block: Any, x: Tensor) -> bool:
    skipped = (block.bn1, block.conv_dw, block.bn2, block.aa, block.se)
    return (
        not block.training
        and not torch.is_grad_enabled()
        and is_plain(x, block.conv_dw.weight)
        and block.conv_s2d is None
        and type(block.aa) is nn.Identity
        and all(_is_given(norm) for norm in (block.bn1, block.bn2))
        and type(block.bn1.act) is type(block.bn2.act)
        and type(block.conv_dw) in (DepthwiseConv2d, DepthwiseConv2dSame, Conv2dSame)
        and is_depthwise_kernel(block.conv_dw)
        and block.conv_dw.dilation == (1, 1)
        and max(block.conv_dw.padding) < block.conv_dw.kernel_size[0]
        and _leaves_pixels(block.conv_dw, x)
        and block.conv_dw.stride in ((1, 1), (2, 2))
        and not any(layer._forward_hooks or layer._forward_pre_hooks for part in skipped for layer in part.modules())
    )


def _leaves_pixels(conv: Any, x: Tensor) -> bool:
    """Whether the kernel fits onto the padded map; where it does not, PyTorch says so."""
    sizes = zip(x.shape[-2:], conv.padding, conv.kernel_size, strict=True)
    return isinstance(conv, Conv2dSame) or all(size + 2 * padding >= kernel for size, padding, kernel in sizes)


def _is_given(norm: Any) -> bool:
    """Whether it is one of ours, by given statistics and with an activation that the kernel knows."""
    if type(norm) is not FastBatchNormAct2d or norm.training:
        return False
    numbers = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    return (
        type(norm.act) in ACTS
        and type(norm.drop) is nn.Identity
        and all(tensor is not None and tensor.dtype == torch.float32 for tensor in numbers)
    )


def _stage(block: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """What ``block``'s squeeze-and-excite gets, (B, C, H', W'), and its mean over the pixels, (B, C, 1, 1)."""
    conv, (images, channels, height, width) = block.conv_dw, x.shape
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    if isinstance(conv, Conv2dSame):
        padding = [get_same_padding(size, kernel, stride, 1) for size in (height, width)]
        top, left = (total // 2 for total in padding)
    else:
        top, left = conv.padding
        padding = [2 * top, 2 * left]
    out = [(size + total - kernel) // stride + 1 for size, total in zip((height, width), padding, strict=True)]
    output = torch.empty(images, channels, *out, dtype=x.dtype, memory_format=torch.channels_last)
    mean = torch.empty(images, channels, 1, 1, dtype=x.dtype)
    taps = torch.zeros(kernel * kernel, -(-channels // _LANES) * _LANES)
    taps[:, :channels] = block.conv_dw.weight.to(x.dtype).flatten(1).t()
    norms = [(norm.weight, norm.bias, norm.running_mean, norm.running_var) for norm in (block.bn1, block.bn2)]
    act = ACTS[type(block.bn1.act)]
    stage = _Stage(images, height, width, channels, *out, kernel, stride, top, left, block.bn1.eps, block.bn2.eps, act)
    call("depthwise_stage", stage, x, taps, *norms[0], *norms[1], output, mean)
    return output, mean


class _Stage(ctypes.Structure):
    """``Stage`` of depthwise_stage.cpp."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("n", "h", "w", "c", "out_h", "out_w", "kernel", "stride", "top", "left")),
        ("first_eps", ctypes.c_float),
        ("second_eps", ctypes.c_float),
        ("act", ctypes.c_int32),
    )
