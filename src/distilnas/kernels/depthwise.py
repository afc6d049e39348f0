"""Depthwise convolutions that train fast on a CPU: PyTorch's forward pass, our gradients.

PyTorch spends most of a CPU training step of MBConv networks in the gradients of depthwise convolutions; ours compute
them in channels-last memory, in float32 and bfloat16, with sums in float32.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distilnas.kernels.build import library

KERNELS = (3, 5, 7)
_DTYPES = (torch.float32, torch.bfloat16)


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise ``nn.Conv2d`` with fast gradients on the CPU; made by ``use_fast_depthwise``.

    State, shapes and results are those of ``nn.Conv2d`` (gradients within rounding). Whatever our kernels do not
    cover goes PyTorch's way: other devices and precisions, passes without gradient, tracing, export and compilation.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not _is_plain_training(input, weight):
            return super()._conv_forward(input, weight, bias)
        autocast = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if autocast else input.dtype
        if dtype not in _DTYPES or not (autocast or weight.dtype == dtype):
            return super()._conv_forward(input, weight, bias)
        return _Depthwise.apply(input.to(dtype), weight, self.stride, self.padding)


def use_fast_depthwise(module: nn.Module) -> int:
    """Turn the depthwise convolutions in ``module`` into ``DepthwiseConv2d``, in place; returns how many it turned.

    Turned are those of class ``nn.Conv2d`` with a kernel of 3, 5 or 7, stride and padding the same both ways, no
    dilation and no bias. The objects stay the same, so references to them, parameters, hooks and the state dict do.
    Where the kernels cannot be compiled, or are turned off (``DISTILNAS_KERNELS=off``), nothing changes.
    """
    convolutions = [m for m in module.modules() if type(m) is nn.Conv2d and _is_covered(m)]
    if not convolutions or library() is None:
        return 0
    for convolution in convolutions:
        convolution.__class__ = DepthwiseConv2d  # as torch.nn.utils.parametrize does
    return len(convolutions)


def _is_covered(conv: nn.Conv2d) -> bool:
    square = all(isinstance(pair, tuple) and len(set(pair)) == 1 for pair in (conv.stride, conv.padding))
    return (
        square
        and conv.kernel_size in [(k, k) for k in KERNELS]
        and conv.groups == conv.in_channels == conv.out_channels
        and conv.bias is None
        and conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
    )


def _is_plain_training(input: Tensor, weight: Tensor) -> bool:
    """Whether these are plain tensors on the CPU and a gradient is wanted."""
    if type(input) is not Tensor or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    return (
        torch.is_grad_enabled()
        and (input.requires_grad or weight.requires_grad)
        and input.device.type == weight.device.type == "cpu"
        and input.ndim == 4
        and input.numel() > 0
        and library() is not None
    )


class _Depthwise(torch.autograd.Function):
    """``conv2d`` in the input's precision; the weight's gradient is of the weight's."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        input = input.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(input, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(input, weight.to(input.dtype), None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        input, weight = ctx.saved_tensors
        need = (*ctx.needs_input_grad[:2], False)
        if torch.is_grad_enabled():  # the gradient is to be differentiated itself
            dx, dw, _ = torch.ops.aten.convolution_backward(
                grad,
                input,
                weight.to(input.dtype),
                None,
                ctx.stride,
                ctx.padding,
                (1, 1),
                False,
                (0, 0),
                len(weight),
                need,
            )
            return dx, None if dw is None else dw.to(weight.dtype), None, None
        grad = grad.contiguous(memory_format=torch.channels_last)
        call = _Call(input, grad, weight, ctx.stride[0], ctx.padding[0])
        return call.grad_input() if need[0] else None, call.grad_weight() if need[1] else None, None, None


class _Shape(ctypes.Structure):
    """``Shape`` of depthwise.cpp."""

    _fields_ = tuple(
        (name, ctypes.c_int64) for name in ("n", "h", "w", "c", "out_h", "out_w", "kernel", "stride", "padding")
    )


class _Call:
    """Both kernels on one convolution's tensors: ``input`` (N, C, H, W) and ``grad`` of its output, channels last."""

    def __init__(self, input: Tensor, grad: Tensor, weight: Tensor, stride: int, padding: int) -> None:
        self.input, self.grad, self.weight = input, grad, weight
        n, c, h, w = input.shape
        self.shape = ctypes.byref(_Shape(n, h, w, c, *grad.shape[2:], weight.shape[-1], stride, padding))
        self.is_bf16 = int(input.dtype == torch.bfloat16)

    def grad_input(self) -> Tensor:
        """(N, C, H, W), channels last."""
        grad = torch.empty_like(self.input)
        rounded = self.weight.to(self.input.dtype).float().contiguous()
        self._run("depthwise_grad_input", self.grad, rounded, grad)
        return grad

    def grad_weight(self) -> Tensor:
        """(C, 1, kernel, kernel)."""
        grad = torch.empty(self.weight.shape)
        self._run("depthwise_grad_weight", self.input, self.grad, grad)
        return grad.to(self.weight.dtype)

    def _run(self, name: str, *tensors: Tensor) -> None:
        kernels = library()
        assert kernels is not None
        pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
        getattr(kernels, name)(self.shape, self.is_bf16, *pointers, torch.get_num_threads())
