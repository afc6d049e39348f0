"""``convnext`` keeps the contract of layers, and is ConvNeXt's block."""

import pytest
import torch
from layer_contract import LayerContract
from timm.models.convnext import ConvNeXtStage

from distilnas.blocks import make_layer
from distilnas.errors import UsageError
from distilnas.space import parse_op
from distilnas.space.kinds.convnext import ConvNeXt


class TestConvNeXt(LayerContract):
    kind = "convnext"
    ops = (
        ConvNeXt(kernel=7, expansion=4, act="gelu"),
        ConvNeXt(kernel=3, expansion=4, act="gelu"),
        ConvNeXt(kernel=3, expansion=2, act="relu"),
    )


def test_a_shrinking_one_is_a_stage_of_timms_convnext():
    """Layer norm, a 2x2 convolution of stride 2, one block: the values in order."""
    torch.manual_seed(0)
    from timm.layers import LayerNorm, LayerNorm2d

    theirs = ConvNeXtStage(8, 16, depth=1, ls_init_value=0.5, norm_layer=LayerNorm2d, norm_layer_cl=LayerNorm)
    ours = make_layer(ConvNeXt(kernel=7, expansion=4, act="gelu"), 8, 16, 2)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(2, 8, 12, 12)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize(("width", "kernel", "expansion"), [(16, 7, 4), (24, 3, 2)])
def test_parameters_by_formula(width: int, kernel: int, expansion: int):
    """Depthwise convolution, layer norm, two linear layers, layer scale, all with bias."""
    layer = make_layer(ConvNeXt(kernel=kernel, expansion=expansion, act="gelu"), width, width, 1)
    middle = expansion * width
    mlp = 2 * width * middle + middle + width
    assert sum(p.numel() for p in layer.parameters()) == width * kernel**2 + width + 2 * width + mlp + width


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("convnext_k4_e4_gelu", "odd, got 4"),
        ("convnext_k3_e0_gelu", "from 1, got 0"),
        ("convnext_k3_e4_tanh", "unknown activation 'tanh'"),
        ("convnext_k3", "unknown op 'convnext_k3'"),
    ],
)
def test_other_text_is_refused(text: str, message: str):
    with pytest.raises(UsageError, match=message):
        parse_op(text)
