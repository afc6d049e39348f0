"""The modules of ``mb``: timm's ``InvertedResidual`` and ``DepthwiseSeparableConv``."""

from functools import partial
from typing import Any

from timm.layers import get_act_layer
from timm.models._efficientnet_blocks import DepthwiseSeparableConv, InvertedResidual, SqueezeExcite
from torch import Tensor, nn

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


def absorb(op: MBConv, layer: Any, matrix: Tensor, out_width: int, stride: int) -> nn.Module | None:
    """The first pointwise convolution takes the map in; the hidden channels follow the channels that come in."""
    new: Any = build(op, matrix.shape[1], out_width, stride, norm_layer=nn.BatchNorm2d, drop_path=0.0)
    if op.expansion == 1 or layer.has_skip or new.has_skip or matrix.shape[1] > matrix.shape[0]:
        return None
    kept = _loudest(layer.conv_pwl.weight.abs().sum((0, 2, 3)) * layer.bn2.weight.abs(), new.conv_dw.in_channels)
    state = {name: value.cpu() for name, value in layer.state_dict().items()}
    state = {name: value[:, kept] if name == "conv_pwl.weight" else value for name, value in state.items()}
    hidden = ("conv_pw.", "bn1.", "conv_dw.", "bn2.")
    state = {name: value[kept] if name.startswith(hidden) else value for name, value in state.items()}
    state["conv_pw.weight"] = (state["conv_pw.weight"][:, :, 0, 0] @ matrix)[:, :, None, None]
    if op.se:
        state |= _squeezed(state, kept, new.se.conv_reduce.out_channels)
    new.load_state_dict(state, strict=False)
    return new


def _squeezed(state: dict[str, Tensor], kept: Tensor, width: int) -> dict[str, Tensor]:
    """Squeeze-and-excite of the hidden channels ``kept`` with the ``width`` squeezed ones that matter most to them."""
    reduce, expand = state["se.conv_reduce.weight"][:, kept], state["se.conv_expand.weight"][kept]
    squeezed = _loudest(expand.abs().sum((0, 2, 3)), width)
    return {
        "se.conv_reduce.weight": reduce[squeezed],
        "se.conv_reduce.bias": state["se.conv_reduce.bias"][squeezed],
        "se.conv_expand.weight": expand[:, squeezed],
        "se.conv_expand.bias": state["se.conv_expand.bias"][kept],
    }


def _loudest(size: Tensor, number: int) -> Tensor:
    """The ``number`` indices of largest ``size``, rising."""
    return size.detach().cpu().topk(number).indices.sort().values
