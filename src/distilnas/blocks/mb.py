"""The modules of ``mb``: timm's ``InvertedResidual`` and ``DepthwiseSeparableConv``."""

from functools import partial

from timm.layers import get_act_layer
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual, SqueezeExcite
from torch import nn

from distilnas.blocks.common import NormLayer
from distilnas.space import MBConv


def build(
    op: MBConv, in_width: int, out_width: int, stride: int, *, norm_layer: NormLayer, drop_path: float
) -> nn.Module:
    """With a shortcut where width and stride stay."""
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
