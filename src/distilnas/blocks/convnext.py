"""The modules of ``convnext``: timm's ``ConvNeXtBlock``."""

from timm.layers import LayerNorm2d, create_conv2d
from timm.models.convnext import ConvNeXtBlock
from torch import Tensor, nn

from distilnas.blocks.common import NormLayer
from distilnas.space.kinds.convnext import ConvNeXt


def build(
    op: ConvNeXt, in_width: int, out_width: int, stride: int, *, norm_layer: NormLayer, drop_path: float
) -> nn.Module:
    """Its norms are layer norms, whatever ``norm_layer`` is: they depend on neither batch nor path."""
    block = ConvNeXtBlock(
        out_width, kernel_size=op.kernel, mlp_ratio=op.expansion, act_layer=op.act, drop_path=drop_path
    )
    if stride == 1 and in_width == out_width:
        return block
    # padding 'same' adds nothing to maps that the stride divides, and emits the rounded up size of others
    shrink = create_conv2d(in_width, out_width, stride, stride=stride, padding="same", bias=True)
    return nn.Sequential(LayerNorm2d(in_width), shrink, block)


def absorb(op: ConvNeXt, layer: nn.Module, matrix: Tensor, out_width: int, stride: int) -> None:
    """Nothing: it begins with a norm, or with a depthwise convolution beside a shortcut."""
    return
