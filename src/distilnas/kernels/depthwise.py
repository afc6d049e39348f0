"""Depthwise convolution with fast gradients on the CPU; the forward pass is PyTorch's."""

import ctypes
from typing import Any

import torch
from timm.layers import Conv2dSame, pad_same, register_notrace_module
from torch import Tensor, nn
from torch.nn import functional as F

from distilnas.kernels.calling import DTYPES, call, is_plain_training

KERNELS = (3, 5, 7)


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise ``nn.Conv2d`` with fast gradients on the CPU; made by ``use_fast_kernels``.

    State, shapes and results are those of ``nn.Conv2d`` (gradients within rounding). Whatever our kernels do not
    cover goes PyTorch's way: other devices and precisions, passes without gradient, tracing, export and compilation.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        dtype = _precision(input, weight)
        if dtype is None:
            return super()._conv_forward(input, weight, bias)
        input = input.to(dtype).contiguous(memory_format=torch.channels_last)
        return _Depthwise.apply(input, weight, self.stride, self.padding, self.dilation)


@register_notrace_module
class DepthwiseConv2dSame(Conv2dSame):
    """timm's ``Conv2dSame`` alike: padded as TensorFlow does, by the input's size.

    timm's tracer keeps it whole, as the original.
    """

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = self.weight  # type: ignore[assignment]
        dtype = _precision(x, weight)
        if dtype is None:
            return super().forward(x)
        x = pad_same(x.to(dtype), self.kernel_size, self.stride, self.dilation)  # type: ignore[arg-type]
        x = x.contiguous(memory_format=torch.channels_last)
        return _Depthwise.apply(x, weight, self.stride, (0, 0), self.dilation)


def _precision(input: Tensor, weight: Tensor) -> torch.dtype | None:
    """The precision that our kernels compute in; None where it is PyTorch's turn."""
    if not is_plain_training(input, weight):
        return None
    autocast = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if autocast else input.dtype
    return dtype if dtype in DTYPES and (autocast or weight.dtype == dtype) else None


def is_depthwise(conv: nn.Conv2d) -> bool:
    """Whether ``conv`` is depthwise with a kernel of 3, 5 or 7, all the same both ways, without bias."""
    square = all(isinstance(pair, tuple) and len(set(pair)) == 1 for pair in (conv.stride, conv.padding, conv.dilation))
    return square and is_depthwise_kernel(conv)


def is_depthwise_kernel(conv: nn.Conv2d) -> bool:
    """The same, whatever stride, padding and dilation."""
    return (
        conv.kernel_size in [(k, k) for k in KERNELS]
        and conv.groups == conv.in_channels == conv.out_channels
        and conv.bias is None
        and conv.padding_mode == "zeros"
    )


class _Depthwise(torch.autograd.Function):
    """``conv2d`` of a channels-last input, in its precision; the weight's gradient is of the weight's."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
    ) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.stride, ctx.padding, ctx.dilation = stride, padding, dilation
        return F.conv2d(input, weight.to(input.dtype), None, stride, padding, dilation, len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        input, weight = ctx.saved_tensors
        need = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():  # the gradient is to be differentiated itself
            settings = (ctx.stride, ctx.padding, ctx.dilation, False, (0, 0), len(weight), (*need, False))
            dx, dw, _ = torch.ops.aten.convolution_backward(grad, input, weight.to(input.dtype), None, *settings)
            return dx, None if dw is None else dw.to(weight.dtype), None, None, None
        grad = grad.contiguous(memory_format=torch.channels_last)
        n, c, h, w = input.shape
        shape = _Shape(n, h, w, c, *grad.shape[2:], weight.shape[-1], ctx.stride[0], ctx.padding[0], ctx.dilation[0])
        dx = _grad_input(shape, input, grad, weight) if need[0] else None
        dw = _grad_weight(shape, input, grad, weight) if need[1] else None
        return dx, dw, None, None, None


class _Shape(ctypes.Structure):
    """``Shape`` of depthwise.cpp."""

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in ("n", "h", "w", "c", "out_h", "out_w", "kernel", "stride", "padding", "dilation")
    )


def _grad_input(shape: _Shape, input: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
    if shape.stride == shape.dilation == 1 and 2 * shape.padding == shape.kernel - 1:  # a forward pass, taps reversed
        return F.conv2d(grad, weight.flip(2, 3).to(grad.dtype), None, 1, shape.padding, 1, len(weight))
    dx = torch.empty_like(input)
    call("depthwise_grad_input", shape, grad, weight.to(input.dtype).float().contiguous(), dx)
    return dx


def _grad_weight(shape: _Shape, input: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
    dw = torch.empty(weight.shape, dtype=torch.float32, device=weight.device)
    call("depthwise_grad_weight", shape, input, grad, dw)
    return dw.to(weight.dtype)
