"""Students as timm networks: against timm's own EfficientNet, features, registry, stochastic depth."""

from typing import Any

import pytest
import timm
import torch
from timm.layers import DropPath
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNet

from distilnas.networks import StudentNet
from distilnas.networks.zoo import zoo_entry
from distilnas.space import Architecture

# Li et al., CVPR 2020: DNA-a as published, in timm's notation (every string with squeeze and excite 0.25).
DNA_A = [
    "ds_r1_k3_s1_c16",
    "ir_r1_k5_s2_e3_c24 ir_r1_k3_s1_e3_c24 ir_r1_k3_s1_e6_c24",
    "ir_r2_k3_s2_e3_c40 ir_r1_k5_s1_e3_c40 ir_r1_k3_s1_e6_c40",
    "ir_r1_k7_s2_e6_c80 ir_r1_k3_s1_e3_c80 ir_r1_k5_s1_e3_c80 ir_r1_k3_s1_e6_c80",
    "ir_r1_k5_s1_e6_c96 ir_r2_k5_s1_e3_c96 ir_r1_k5_s1_e6_c96",
    "ir_r1_k5_s2_e6_c160 ir_r3_k5_s1_e3_c160 ir_r1_k5_s1_e6_c160",
    "ir_r1_k3_s1_e6_c320",
]
SMALL = (
    "stem 8/2 relu mb_k3_e1_relu:8/1 | 16/2 mb_k3_e3_relu id | 24/1 mb_k5_e3_relu | "
    "24/2 id mb_k3_e3_relu | head 32 relu"
)


def test_dna_a_is_timms_efficientnet():
    strings = [[f"{part}_se0.25" for part in stage.split()] for stage in DNA_A]
    theirs = EfficientNet(
        decode_arch_def(strings), num_features=1280, stem_size=32, act_layer=torch.nn.SiLU
    ).eval()  # fmt: skip
    architecture = zoo_entry("dna-a").architecture
    assert architecture is not None
    ours = StudentNet(architecture).eval()
    shapes = {key: value.shape for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == shapes
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=0, atol=0)


def test_from_timms_registry_by_text_and_object():
    for architecture in (SMALL, Architecture.parse(SMALL)):
        model = timm.create_model("distilnas_student", architecture=architecture, num_classes=5, in_chans=1)
        assert isinstance(model, StudentNet)
        assert str(model.architecture) == SMALL
        assert model.eval()(torch.rand(2, 1, 32, 32)).shape == (2, 5)


@pytest.mark.parametrize(
    ("text", "channels", "reductions"),
    [
        (SMALL, [8, 24, 24], [2, 4, 8]),
        ("stem 8/1 relu | 16/2 mb_k3_e3_relu | 24/2 id | head 32 relu", [8, 16, 24], [1, 2, 4]),
        ("stem 8/2 relu | 16/1 mb_k3_e3_relu | head 32 relu", [16], [2]),
    ],
)
def test_features_have_the_promised_channels_and_reductions(text, channels, reductions):
    model: Any = timm.create_model("distilnas_student", architecture=text, features_only=True).eval()
    assert model.feature_info.channels() == channels
    assert model.feature_info.reduction() == reductions
    maps = model(torch.rand(1, 3, 32, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, 32 // r, 32 // r) for c, r in zip(channels, reductions, strict=True)
    ]


def test_timms_methods():
    model = StudentNet(Architecture.parse(SMALL), num_classes=5).eval()
    images = torch.rand(2, 3, 32, 32)
    features = model.forward_features(images)
    assert features.shape == (2, 32, 4, 4)
    torch.testing.assert_close(model.forward_head(features), model(images))
    model.reset_classifier(7)
    assert model(images).shape == (2, 7)


def test_stochastic_depth_grows_linearly():
    """As in timm: rate * index / number of layers; a layer without a shortcut has none."""
    text = f"stem 8/1 relu | 8/1 {' '.join(['mb_k3_e3_relu'] * 3)} | 8/2 mb_k3_e3_relu mb_k3_e3_relu | head 8 relu"
    model = StudentNet(Architecture.parse(text), drop_path_rate=0.5)
    layers = [layer for stage in model.blocks for layer in stage]  # type: ignore[union-attr]
    rates = [layer.drop_path.drop_prob if isinstance(layer.drop_path, DropPath) else 0 for layer in layers]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert not layers[3].has_skip
