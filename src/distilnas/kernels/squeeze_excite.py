"""Squeeze-and-excite on the CPU: the mean, the product with the gates and its gradients in one run over memory each."""

import ctypes
from typing import Any

import torch
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor

from distilnas.kernels.calling import DTYPES, call, is_plain


class FastSqueezeExcite(SqueezeExcite):
    """timm's ``SqueezeExcite`` of EfficientNets that is fast on the CPU in channels-last memory.

    Made by ``use_fast_kernels``. State and results are timm's within rounding; whatever our kernels do not cover goes
    its way: other devices and precisions, tracing, export and compilation.
    """

    def forward(self, x: Tensor) -> Tensor:
        plain = is_plain(x, self.conv_reduce.weight) and x.dtype in DTYPES
        if not plain or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        return self.excite(x, _Mean.apply(x))

    def excite(self, x: Tensor, mean: Tensor) -> Tensor:
        """Forward pass where the ``mean`` (B, C, 1, 1) of ``x`` is known."""
        reduced = self.act1(self.conv_reduce(mean))  # type: ignore[operator]
        gate = self.gate(self.conv_expand(reduced))  # type: ignore[operator]
        return _Scale.apply(x, gate) if gate.dtype == x.dtype else x * gate


class _Mean(torch.autograd.Function):
    """(B, C, H, W) -> (B, C, 1, 1)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        output = x.new_empty(*x.shape[:2], 1, 1)
        call("squeeze_mean", _Maps.of(x), x, output)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return (grad / ctx.shape[2:].numel()).expand(ctx.shape)  # a view: added to the other gradient without a copy


class _Scale(torch.autograd.Function):
    """x (B, C, H, W) times gate (B, C, 1, 1)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor) -> Tensor:
        gate = gate.contiguous()
        ctx.save_for_backward(x, gate)
        output = torch.empty_like(x)
        call("excite", _Maps.of(x), x, gate, output)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x, gate = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated itself
            return grad * gate, (grad * x).sum((2, 3), keepdim=True)
        grad = grad.contiguous(memory_format=torch.channels_last)
        dx, dgate = torch.empty_like(x), torch.empty_like(gate)
        call("excite_backward", _Maps.of(x), x, gate, grad, dx, dgate)
        return dx, dgate


class _Maps(ctypes.Structure):
    """``Maps`` of squeeze_excite.cpp."""

    _fields_ = tuple((name, ctypes.c_int64) for name in ("images", "pixels", "channels"))

    @classmethod
    def of(cls, x: Tensor) -> "_Maps":
        return cls(len(x), x.shape[2:].numel(), x.shape[1])
