"""Batch norm in training, with the ReLU behind it, in two runs over memory forward and two backward on the CPU."""

import ctypes
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional as F

from distilnas.kernels.calling import DTYPES, call, is_plain_training


class FastBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` that trains fast on the CPU in channels-last memory; made by ``use_fast_kernels``.

    State and results are those of ``nn.BatchNorm2d`` within rounding; all but plain training goes PyTorch's way.
    """

    def forward(self, input: Tensor) -> Tensor:
        return _normalise(self, input, relu=False) if _covers(self, input) else super().forward(input)

    def _check_input_dim(self, input: Any) -> None:
        if isinstance(input, Tensor):  # what torch.fx puts in its place has no shape
            super()._check_input_dim(input)


class FastBatchNormAct2d(BatchNormAct2d):
    """timm's ``BatchNormAct2d`` alike; its activation is computed along where it is ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        if not _covers(self, x):
            return super().forward(x)
        relu = type(self.act) is nn.ReLU and type(self.drop) is nn.Identity
        x = _normalise(self, x, relu=relu)
        return x if relu else self.act(self.drop(x))  # type: ignore[operator]


def _covers(norm: Any, input: Tensor) -> bool:
    if norm.weight is None or norm.bias is None or not is_plain_training(input, norm.weight, norm.bias):
        return False
    return (
        (norm.training or norm.running_mean is None)
        and input.shape[1] == norm.num_features
        and input.numel() > norm.num_features
        and input.dtype in DTYPES
        and norm.weight.dtype == norm.bias.dtype == torch.float32
        and input.is_contiguous(memory_format=torch.channels_last)
    )


def _normalise(norm: Any, input: Tensor, *, relu: bool) -> Tensor:
    output, mean, var = _BatchNorm.apply(input, norm.weight, norm.bias, norm.eps, relu)
    if norm.training and norm.track_running_stats and norm.running_mean is not None:
        _track(norm, mean, var, input.numel() // norm.num_features)
    return output


@torch.no_grad()
def _track(norm: Any, mean: Tensor, var: Tensor, values: int) -> None:
    """Update the running statistics as ``nn.BatchNorm2d`` does; their variance is the unbiased one."""
    norm.num_batches_tracked.add_(1)
    share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(var * (values / (values - 1)), share)


class _BatchNorm(torch.autograd.Function):
    """(output, mean, biased variance) by the batch's own statistics."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, bias: Tensor, eps: float, relu: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        output, mean, var = torch.empty_like(input), torch.empty_like(weight), torch.empty_like(weight)
        ctx.layer = _Layer(input.numel() // len(weight), len(weight), eps, relu)
        call("batch_norm_forward", ctx.layer, input, weight, bias, output, mean, var)
        ctx.save_for_backward(input, weight, bias, mean, var)
        ctx.mark_non_differentiable(mean, var)
        return output, mean, var

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        input, weight, bias, mean, var = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiable_backward(ctx.layer, grad, input, weight, bias, mean, var), None, None
        grad = grad.contiguous(memory_format=torch.channels_last)
        dx, dw, db = torch.empty_like(input), torch.empty_like(weight), torch.empty_like(bias)
        call("batch_norm_backward", ctx.layer, input, grad, weight, bias, mean, var, dx, dw, db)
        return dx, dw, db, None, None


def _differentiable_backward(
    layer: "_Layer", grad: Tensor, input: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """PyTorch's own backward pass, which has a gradient itself."""
    if layer.relu:
        with torch.no_grad():
            passed = F.batch_norm(input, mean, var, weight, bias, eps=layer.eps) > 0
        grad = grad * passed
    return torch.ops.aten.native_batch_norm_backward(
        grad, input, weight, None, None, mean, (var + layer.eps).rsqrt(), True, layer.eps, [True] * 3
    )


class _Layer(ctypes.Structure):
    """``Layer`` of batch_norm.cpp."""

    _fields_ = (
        ("pixels", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("eps", ctypes.c_float),
        ("relu", ctypes.c_int32),
    )
