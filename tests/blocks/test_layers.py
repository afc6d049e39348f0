"""Ops as modules: shapes, parameters against a formula, activations, kernels."""

import itertools

import pytest
import torch
from torch import nn

from distilnas.blocks import conv_norm_act, make_layer
from distilnas.space import Identity, MBConv
from distilnas.space.ops import ACTIVATIONS

OPS = [
    Identity(),
    *(
        MBConv(kernel=k, expansion=e, se=se, act="silu")
        for k, e, se in itertools.product((1, 3, 5, 7), (1, 3, 6), (0, 0.25))
    ),
]


def params_by_formula(op: MBConv | Identity, in_width: int, out_width: int, stride: int) -> int:
    """MBConv of MobileNetV2/EfficientNet written out: expand, depthwise, squeeze and excite, project, batch norms."""
    if isinstance(op, Identity):
        return 0 if in_width == out_width and stride == 1 else in_width * out_width + 2 * out_width
    middle, squeeze = in_width * op.expansion, round(in_width * op.se)
    expand = 0 if op.expansion == 1 else in_width * middle + 2 * middle
    depthwise = middle * op.kernel**2 + 2 * middle
    excite = 2 * middle * squeeze + squeeze + middle if op.se else 0
    return expand + depthwise + excite + middle * out_width + 2 * out_width


@pytest.mark.parametrize("op", OPS, ids=str)
@pytest.mark.parametrize(
    ("in_width", "out_width", "stride"), [(16, 16, 1), (16, 24, 1), (24, 40, 2), (24, 24, 3), (24, 24, 8)]
)
def test_shape_and_parameters(op, in_width, out_width, stride):
    layer = make_layer(op, in_width, out_width, stride).eval()
    assert sum(p.numel() for p in layer.parameters()) == params_by_formula(op, in_width, out_width, stride)
    for side in (7, 8, 13):
        assert layer(torch.rand(2, in_width, side, side)).shape == (
            2,
            out_width,
            -(-side // stride),
            -(-side // stride),
        )


@pytest.mark.parametrize("op", [op for op in OPS if isinstance(op, MBConv)], ids=str)
def test_the_kernel_is_the_one_in_the_name(op):
    depthwise = [m for m in make_layer(op, 16, 16, 1).modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert [conv.kernel_size for conv in depthwise] == [(op.kernel, op.kernel)]


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_a_plain_convolution_emits_the_rounded_up_size(stride):
    conv, norm = conv_norm_act(3, 8, kernel=3, stride=stride, act="relu")
    for side in (7, 8, 13):
        assert norm(conv(torch.rand(1, 3, side, side))).shape == (1, 8, -(-side // stride), -(-side // stride))


def test_an_identity_is_one():
    x = torch.rand(1, 8, 5, 5)
    assert torch.equal(make_layer(Identity(), 8, 8, 1)(x), x)


@pytest.mark.parametrize(
    ("act", "reference"),
    list(zip(ACTIVATIONS, [torch.relu, nn.ReLU6(), nn.SiLU(), nn.Hardswish(), nn.GELU()], strict=True)),
)
def test_activations(act, reference):
    """Fresh batch norm in eval mode divides by sqrt(1 + eps) only, so the activation is seen through it."""
    conv, norm = (m.eval() for m in conv_norm_act(3, 8, kernel=3, stride=2, act=act))
    x = 4 * torch.randn(2, 3, 9, 9)
    expected = reference(conv(x) / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(norm(conv(x)), expected)
    layer = make_layer(MBConv(kernel=3, expansion=3, act=act), 8, 8, 1)
    assert layer(torch.rand(2, 8, 4, 4)).isfinite().all()
