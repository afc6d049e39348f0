"""The modules of ``id``."""

from typing import Any

from torch import Tensor, nn

from distilnas.blocks.common import NormLayer
from distilnas.space import Identity


def build(
    op: Identity, in_width: int, out_width: int, stride: int, *, norm_layer: NormLayer, drop_path: float
) -> nn.Module:
    """Nothing, or a projection."""
    if stride == 1 and in_width == out_width:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_width, out_width, 1, stride=stride, bias=False), norm_layer(out_width))


def absorb(op: Identity, layer: Any, matrix: Tensor, out_width: int, stride: int) -> nn.Module | None:
    """The projection's convolution takes the map in."""
    new = build(op, matrix.shape[1], out_width, stride, norm_layer=nn.BatchNorm2d, drop_path=0.0)
    if not isinstance(layer, nn.Sequential) or not isinstance(new, nn.Sequential):
        return None
    (before, settled), (convolution, norm) = layer, new
    assert isinstance(before, nn.Conv2d)
    convolution.weight.data = (before.weight[:, :, 0, 0].cpu() @ matrix)[:, :, None, None]
    norm.load_state_dict(settled.state_dict(), strict=False)
    return new
