"""The modules of ``id``."""

from torch import nn

from distilnas.blocks.common import NormLayer
from distilnas.space import Identity


def build(
    op: Identity, in_width: int, out_width: int, stride: int, *, norm_layer: NormLayer, drop_path: float
) -> nn.Module:
    """Nothing, or a projection."""
    if stride == 1 and in_width == out_width:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_width, out_width, 1, stride=stride, bias=False), norm_layer(out_width))
