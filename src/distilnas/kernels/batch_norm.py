"""Batch norm, with the activation behind it, in two runs over memory forward and two backward on the CPU."""

import ctypes
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn import functional as F

from distilnas.kernels.calling import DTYPES, asks_gradient, call, is_plain

ACTS = {nn.Identity: 0, nn.ReLU: 1, nn.SiLU: 2}  # ``Act`` of normalised.h
_FUNCTIONS = (nn.Identity(), F.relu, F.silu)


class FastBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` that is fast on the CPU in channels-last memory; made by ``use_fast_kernels``.

    State and results are those of ``nn.BatchNorm2d`` within rounding. Whatever our kernels do not cover goes PyTorch's
    way: other devices and precisions, gradients in eval mode, tracing, export and compilation.
    """

    def forward(self, input: Tensor) -> Tensor:
        return _normalise(self, input, act=0) if _covers(self, input) else super().forward(input)

    def _check_input_dim(self, input: Any) -> None:
        if isinstance(input, Tensor):  # what torch.fx puts in its place has no shape
            super()._check_input_dim(input)


class FastBatchNormAct2d(BatchNormAct2d):
    """timm's ``BatchNormAct2d`` alike; its activation is computed along where it is ReLU or SiLU."""

    def forward(self, x: Tensor) -> Tensor:
        if not _covers(self, x):
            return super().forward(x)
        act = ACTS.get(type(self.act)) if type(self.drop) is nn.Identity else None
        x = _normalise(self, x, act=act or 0)
        return self.act(self.drop(x)) if act is None else x  # type: ignore[operator]


def _covers(norm: Any, input: Tensor) -> bool:
    affine = [tensor for tensor in (norm.weight, norm.bias) if tensor is not None]
    if len(affine) == 1 or not is_plain(input, *affine):
        return False
    by_batch = _by_batch(norm)
    return (
        (by_batch or not asks_gradient(input, *affine))
        and input.shape[1] == norm.num_features
        and (not by_batch or input.numel() > norm.num_features)
        and input.dtype in DTYPES
        and all(tensor.dtype == torch.float32 for tensor in affine)
        and (norm.running_mean is None or norm.running_mean.dtype == torch.float32)
        and input.is_contiguous(memory_format=torch.channels_last)
    )


def _by_batch(norm: Any) -> bool:
    """Whether the batch's own statistics count."""
    return norm.training or norm.running_mean is None


def _affine(norm: Any) -> tuple[Tensor, Tensor]:
    """Scale and shift; 1 and 0 where the layer has none."""
    if norm.weight is None:
        ones = torch.ones(norm.num_features, dtype=torch.float32, device="cpu")
        return ones, torch.zeros_like(ones)
    return norm.weight, norm.bias


def _normalise(norm: Any, input: Tensor, *, act: int) -> Tensor:
    weight, bias = _affine(norm)
    if not _by_batch(norm):
        output = torch.empty_like(input)
        layer = _Layer(input.numel() // norm.num_features, norm.num_features, norm.eps, act)
        statistics = (norm.running_mean, norm.running_var)
        call("batch_norm_apply", layer, input, weight, bias, *statistics, output)
        return output
    output, mean, var = _BatchNorm.apply(input, weight, bias, norm.eps, act)
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
        ctx: Any, input: Tensor, weight: Tensor, bias: Tensor, eps: float, act: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        output, mean, var = torch.empty_like(input), torch.empty_like(weight), torch.empty_like(weight)
        ctx.layer = _Layer(input.numel() // len(weight), len(weight), eps, act)
        call("batch_norm_forward", ctx.layer, input, weight, bias, output, mean, var)
        ctx.save_for_backward(input, weight, bias, mean, var)
        ctx.mark_non_differentiable(mean, var)
        return output, mean, var

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        input, weight, bias, mean, var = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiable_backward(ctx.layer, grad, input, weight, bias), None, None
        grad = grad.contiguous(memory_format=torch.channels_last)
        dx, dw, db = torch.empty_like(input), torch.empty_like(weight), torch.empty_like(bias)
        call("batch_norm_backward", ctx.layer, input, grad, weight, bias, mean, var, dx, dw, db)
        return dx, dw, db, None, None


def _differentiable_backward(layer: "_Layer", grad: Tensor, *inputs: Tensor) -> tuple[Tensor | None, ...]:
    """PyTorch's own backward pass for input, weight and bias, which has a gradient itself."""
    input, weight, bias = inputs
    output = _FUNCTIONS[layer.act](F.batch_norm(input, None, None, weight, bias, training=True, eps=layer.eps))
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    found = iter(torch.autograd.grad(output, wanted, grad, create_graph=True))
    return tuple(next(found) if tensor.requires_grad else None for tensor in inputs)


class _Layer(ctypes.Structure):
    """``Layer`` of batch_norm.cpp."""

    _fields_ = (
        ("pixels", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("eps", ctypes.c_float),
        ("act", ctypes.c_int32),
    )
