"""What the kinds are built from: the norm layer that is handed in, and a convolution with norm and activation."""

from collections.abc import Callable

from timm.layers import create_conv2d, get_act_layer, get_norm_act_layer
from torch import nn

NormLayer = Callable[..., nn.Module]
"""Called with the number of channels."""


def conv_norm_act(
    in_width: int, out_width: int, *, kernel: int, stride: int, act: str, norm_layer: NormLayer = nn.BatchNorm2d
) -> tuple[nn.Module, nn.Module]:
    """Convolution without bias, then batch norm with activation: the stem (kernel 3) and the head (kernel 1)."""
    norm_act = get_norm_act_layer(norm_layer, get_act_layer(act))
    assert norm_act is not None
    return create_conv2d(in_width, out_width, kernel, stride=stride, padding=kernel // 2), norm_act(
        out_width, inplace=True
    )
