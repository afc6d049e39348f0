"""The modules of ``res``: timm's configurable ResNet blocks (``timm.models.byobnet``)."""

from functools import partial

from timm.layers import ConvNormAct, SEModule, get_act_layer
from timm.models.byobnet import BasicBlock, BottleneckBlock, LayerFn
from torch import Tensor, nn

from distilnas.blocks.common import NormLayer
from distilnas.space.kinds.res import Residual

_NECK = 0.25  # of the output's width; timm rounds to multiples of 8


def build(
    op: Residual, in_width: int, out_width: int, stride: int, *, norm_layer: NormLayer, drop_path: float
) -> nn.Module:
    """With a 1x1 projection as shortcut where width or stride change."""
    act = get_act_layer(op.act)
    layers = LayerFn()
    layers.conv_norm_act = partial(ConvNormAct, norm_layer=norm_layer, act_layer=act)  # type: ignore[assignment]
    layers.act = act  # type: ignore[assignment]
    layers.attn = partial(SEModule, rd_channels=max(1, round(op.se * out_width))) if op.se else None  # type: ignore[assignment]
    shared = {
        "kernel_size": op.kernel,
        "stride": stride,
        "downsample": "conv1x1",
        "attn_last": True,
        "layers": layers,
        "drop_path_rate": drop_path,
    }
    if op.shape == "basic":
        return _unpadded(BasicBlock(in_width, out_width, **shared), op.kernel)
    return _unpadded(BottleneckBlock(in_width, out_width, bottle_ratio=_NECK, **shared), op.kernel)


def _unpadded(block: nn.Module, kernel: int) -> nn.Module:
    """timm pads more from stride 3 on, and branch and shortcut would then emit different sizes."""
    for conv in block.modules():
        if isinstance(conv, nn.Conv2d):
            padding = kernel // 2 if conv.kernel_size == (kernel, kernel) else 0
            conv.padding = (padding, padding)
    return block


def absorb(op: Residual, layer: nn.Module, matrix: Tensor, out_width: int, stride: int) -> None:
    """Nothing: a branch begins with a padded convolution, or there is a shortcut."""
    return
