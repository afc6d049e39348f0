"""The ops of the DARTS space as modules: (B, C, H, W) -> (B, C, ceil(H / stride), ceil(W / stride)).

They are those of Liu et al., DARTS (ICLR 2019) and its released code: ReLU, convolution, batch norm in this order, no
biases. Supernet, derived networks and cost tables build through ``make_op``. Parameter names are places in an
``nn.Sequential``, counted as in the released code (``0`` is the ReLU).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from distilnas.errors import UsageError
from distilnas.space.darts.ops import check_op


class Zero(nn.Module):
    """``none``: zeros of the output's shape."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class FactorizedReduce(nn.Module):
    """Halves the resolution: ReLU, two 1x1 convolutions of stride 2, the second shifted by one pixel, batch norm.

    Odd sides are padded by one row or column of zeros for the second convolution (the released code fails there).
    """

    def __init__(self, in_width: int, out_width: int, *, affine: bool = True) -> None:
        super().__init__()
        if out_width % 2:
            raise UsageError(f"a factorized reduction emits two halves: the width must be even, got {out_width}.")
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(in_width, out_width // 2, 1, stride=2, bias=False)
        self.conv2 = nn.Conv2d(in_width, out_width // 2, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(out_width, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(x)
        height, width = x.shape[-2:]
        shifted = x[:, :, 1:, 1:]
        if height % 2 or width % 2:
            shifted = functional.pad(shifted, (0, width % 2, 0, height % 2))
        return self.bn(torch.cat([self.conv1(x), self.conv2(shifted)], dim=1))


def make_op(name: str, width: int, stride: int, *, affine: bool = True, pool_norm: bool = False) -> nn.Module:
    """The module of an op of ``space.darts.OPS`` on ``width`` channels.

    Args:
        stride: 1, or 2 in reduction cells.
        affine: whether batch norms scale and shift; True in derived networks, False in the search.
        pool_norm: batch norm without scale and shift after pooling, as in the search.

    Raises ``UsageError`` for an unknown op, another stride, or an odd width where ``skip_connect`` has to reduce.
    """
    check_op(name)
    if stride not in (1, 2):
        raise UsageError(f"a DARTS op has stride 1 or 2, got {stride}.")
    if name == "none":
        return Zero(stride)
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(width, width, affine=affine)
    if name.endswith("pool_3x3"):
        return _pool(name, width, stride, pool_norm)
    return _CONVOLUTIONS[name](width, stride, affine)


def relu_conv_bn(in_width: int, out_width: int, *, affine: bool = True) -> nn.Module:
    """ReLU, 1x1 convolution, batch norm: the usual preprocessing of a cell's input."""
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(in_width, out_width, 1, bias=False), nn.BatchNorm2d(out_width, affine=affine)
    )


def _pool(name: str, width: int, stride: int, norm: bool) -> nn.Module:
    if name == "max_pool_3x3":
        pool = nn.MaxPool2d(3, stride=stride, padding=1)
    else:
        pool = nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False)
    return nn.Sequential(pool, nn.BatchNorm2d(width, affine=False)) if norm else pool


def _separable(width: int, stride: int, affine: bool, kernel: int, dilation: int = 1) -> list[nn.Module]:
    """ReLU, depthwise convolution (which carries stride and dilation), 1x1 convolution, batch norm."""
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(width, width, kernel, stride, padding, dilation=dilation, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width, affine=affine),
    ]


def _sep_conv(kernel: int) -> Callable[[int, int, bool], nn.Module]:
    return lambda width, stride, affine: nn.Sequential(
        *_separable(width, stride, affine, kernel), *_separable(width, 1, affine, kernel)
    )


def _dil_conv(kernel: int) -> Callable[[int, int, bool], nn.Module]:
    return lambda width, stride, affine: nn.Sequential(*_separable(width, stride, affine, kernel, dilation=2))


def _conv_7x1_1x7(width: int, stride: int, affine: bool) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(width, width, (1, 7), (1, stride), (0, 3), bias=False),
        nn.Conv2d(width, width, (7, 1), (stride, 1), (3, 0), bias=False),
        nn.BatchNorm2d(width, affine=affine),
    )


_CONVOLUTIONS: dict[str, Callable[[int, int, bool], nn.Module]] = {
    **{f"sep_conv_{k}x{k}": _sep_conv(k) for k in (3, 5, 7)},
    **{f"dil_conv_{k}x{k}": _dil_conv(k) for k in (3, 5)},
    "conv_7x1_1x7": _conv_7x1_1x7,
}
