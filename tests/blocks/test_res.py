"""``res`` keeps the contract of layers, and is ResNet's block."""

import pytest
import torch
from layer_contract import LayerContract
from timm.models.resnet import BasicBlock, Bottleneck, downsample_conv
from torch import nn

from distilnas.blocks import make_layer
from distilnas.errors import UsageError
from distilnas.space import parse_op
from distilnas.space.kinds.res import Residual


class TestResidual(LayerContract):
    kind = "res"
    ops = (
        Residual(shape="basic", kernel=3, act="relu"),
        Residual(shape="neck", kernel=3, act="relu"),
        Residual(shape="neck", kernel=5, se=0.25, act="silu"),
    )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", ["basic", "neck"])
def test_it_computes_what_timms_resnet_does(shape: str, stride: int):
    """The weights in order, branch first: timm's ``BasicBlock`` and ``Bottleneck`` name their layers otherwise."""
    torch.manual_seed(0)
    in_width = 32 if stride == 2 else 64
    shortcut = downsample_conv(in_width, 64, 1, stride=stride) if stride == 2 else None
    if shape == "basic":
        theirs: nn.Module = BasicBlock(in_width, 64, stride=stride, downsample=shortcut)
    else:
        theirs = Bottleneck(in_width, 16, stride=stride, downsample=shortcut)
    ours = make_layer(Residual(shape=shape, kernel=3, act="relu"), in_width, 64, stride)
    for norm in theirs.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight)
            nn.init.uniform_(norm.running_mean)  # type: ignore[arg-type]
    values = theirs.state_dict()
    branch = [key for key in ours.state_dict() if not key.startswith("shortcut")]
    names = [*branch, *(key for key in ours.state_dict() if key.startswith("shortcut"))]
    ours.load_state_dict(dict(zip(names, values.values(), strict=True)))
    x = torch.randn(2, in_width, 9, 9)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize(
    ("se", "expected"),
    [(0.0, 0), (0.25, 2 * 64 * 16 + 16 + 64)],
)
def test_parameters_by_formula(se: float, expected: int):
    """Two 3x3 convolutions of 64 channels, two batch norms; squeeze-and-excite to a quarter of the output's width."""
    layer = make_layer(Residual(shape="basic", kernel=3, se=se, act="relu"), 64, 64, 1)
    assert sum(p.numel() for p in layer.parameters()) == 2 * (9 * 64 * 64 + 2 * 64) + expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("res_big_k3_relu", "unknown residual block 'big'"),
        ("res_basic_k4_relu", "odd, got 4"),
        ("res_neck_k3_se2_relu", "between 0 and 1, got 2"),
        ("res_neck_k3_tanh", "unknown activation 'tanh'"),
        ("res_basic", "unknown op 'res_basic'; valid: 'id', .*'res_<basic or neck>"),
    ],
)
def test_other_text_is_refused(text: str, message: str):
    with pytest.raises(UsageError, match=message):
        parse_op(text)
