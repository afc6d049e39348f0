"""The one place where an op becomes a module: supernet, cost tables, students, zoo and export all build through here.

The modules are timm's own, so that a found network is a timm-style network with timm's parameter names.
"""

from collections.abc import Callable
from functools import partial

from timm.layers import create_conv2d, get_act_layer, get_norm_act_layer
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual, SqueezeExcite
from torch import nn

from distilnas.space import Identity, MBConv, Op

NormLayer = Callable[..., nn.Module]


def make_layer(
    op: Op,
    in_width: int,
    out_width: int,
    stride: int,
    *,
    norm_layer: NormLayer = nn.BatchNorm2d,
    drop_path: float = 0.0,
) -> nn.Module:
    """The module of ``op``: (B, in_width, H, W) -> (B, out_width, ceil(H / stride), ceil(W / stride)).

    Args:
        norm_layer: called with the number of channels; batch norm with timm's settings unless the supernet asks for
            another.
        drop_path: probability of dropping the residual branch (stochastic depth); only layers with a shortcut use it.
    """
    if isinstance(op, Identity):
        return _identity(in_width, out_width, stride, norm_layer)
    return _mbconv(op, in_width, out_width, stride, norm_layer, drop_path)


def conv_norm_act(
    in_width: int, out_width: int, *, kernel: int, stride: int, act: str, norm_layer: NormLayer = nn.BatchNorm2d
) -> tuple[nn.Module, nn.Module]:
    """Convolution without bias, then batch norm with activation: the stem (kernel 3) and the head (kernel 1)."""
    norm_act = get_norm_act_layer(norm_layer, get_act_layer(act))
    assert norm_act is not None
    return create_conv2d(in_width, out_width, kernel, stride=stride, padding=kernel // 2), norm_act(
        out_width, inplace=True
    )


def _identity(in_width: int, out_width: int, stride: int, norm_layer: NormLayer) -> nn.Module:
    if stride == 1 and in_width == out_width:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_width, out_width, 1, stride=stride, bias=False), norm_layer(out_width))


def _mbconv(
    op: MBConv, in_width: int, out_width: int, stride: int, norm_layer: NormLayer, drop_path: float
) -> nn.Module:
    # timm's ratio is of the expanded width, ours (as in the paper) of the layer's input width.
    squeeze = partial(SqueezeExcite, rd_ratio=op.se / op.expansion) if op.se else None
    common = {
        "dw_kernel_size": op.kernel,
        "stride": stride,
        "act_layer": get_act_layer(op.act),
        "norm_layer": norm_layer,
        "se_layer": squeeze,
        "drop_path_rate": drop_path,
    }
    if op.expansion == 1:
        layer = DepthwiseSeparableConv(in_width, out_width, **common)
    else:
        layer = InvertedResidual(in_width, out_width, exp_ratio=op.expansion, **common)
    # timm pads more from stride 3 on, and kernels and identity would then emit different sizes
    layer.conv_dw.padding = (op.kernel // 2, op.kernel // 2)  # type: ignore[assignment]
    return layer
