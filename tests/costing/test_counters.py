"""Counts: against formulas, published networks, and what cannot be counted."""

import copy

import pytest
import timm
import torch
from torch import nn

from distilnas.costing import count, count_params, profile
from distilnas.errors import UsageError
from distilnas.networks.zoo import create


@pytest.mark.parametrize(
    ("name", "params", "macs", "paper_flops", "entries"),
    [
        # Li et al., CVPR 2020: counted on the published definitions, 1000 classes, 224 px; table 1 prints paper_flops
        ("dna-a", 4_243_318, 335_141_728, 348_161_054, 492),
        ("dna-b", 4_918_180, 392_492_032, 405_784_844, 470),
        ("dna-c", 5_273_896, 450_138_976, 465_920_048, 448),
        ("dna-d", 6_409_486, 592_837_792, 611_198_918, 492),
    ],
)
def test_published_dna_networks(name, params, macs, paper_flops, entries):
    with torch.device("meta"):
        model = create(name)
    counts = profile(model, 224)
    assert (counts.params, counts.macs, counts.paper_flops) == (params, macs, paper_flops)
    assert len(model.state_dict()) == entries


def test_resnet50():
    """He et al. 2016: 4.1 G multiply-adds and 25.6 M parameters; exact sums over its layer table."""
    with torch.device("meta"):
        model = timm.create_model("resnet50")
    counts = profile(model, 224)
    assert counts.macs == 4_089_184_256
    assert counts.params == 25_557_032


@pytest.mark.parametrize(
    ("kernel", "stride", "groups", "bias"), [(1, 1, 1, True), (3, 1, 1, False), (3, 2, 4, True), (5, 3, 8, False)]
)
def test_one_convolution(kernel, stride, groups, bias):
    model = nn.Conv2d(8, 16, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=bias)
    height, width = -(-9 // stride), -(-12 // stride)
    outputs = 16 * height * width
    expected = outputs * (8 // groups) * kernel * kernel
    assert count(model, (8, 9, 12))[:3] == (expected, expected + bias * outputs, (16, height, width))
    assert count_params(model) == 16 * (8 // groups) * kernel * kernel + 16 * bias


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        (nn.Linear(6, 10), (6,), (60, 60, (10,))),
        (nn.Linear(6, 10), (7, 6), (420, 420, (7, 10))),
        (nn.Conv1d(4, 6, 3), (4, 10), (6 * 8 * 3 * 4, 6 * 8 * 3 * 4 + 48, (6, 8))),
        (nn.BatchNorm2d(4), (4, 5, 6), (0, 240, (4, 5, 6))),
        (nn.BatchNorm2d(4, affine=False), (4, 5, 6), (0, 0, (4, 5, 6))),
        (nn.LayerNorm(6), (4, 5, 6), (0, 0, (4, 5, 6))),
        (nn.AvgPool2d(2), (4, 4, 6), (0, 96, (4, 2, 3))),
        (nn.AdaptiveAvgPool2d(1), (4, 4, 6), (0, 96, (4, 1, 1))),
        (nn.Sequential(nn.ReLU(), nn.Dropout(), nn.Flatten()), (4, 2), (0, 0, (8,))),
    ],
)
def test_one_layer_by_hand(model, shape, expected):
    """Multiply-adds; the DNA authors' counter adds conv biases, 2 per batch-norm input and 1 per pooling input."""
    assert count(model, shape) == (*expected, 0)


def test_a_layer_used_twice_counts_twice():
    layer = nn.Linear(5, 5)
    assert count(nn.Sequential(layer, nn.ReLU(), layer), (5,)).macs == 50


@pytest.mark.parametrize(("model", "shape"), [(nn.Conv2d(3, 4, 3), (1, 8, 8)), (nn.Conv2d(3, 4, 3), (3, 2, 2))])
def test_an_input_that_does_not_fit(model, shape):
    with pytest.raises(UsageError, match="cannot count Conv2d for an input of"):
        count(model, shape)


def test_a_transformer_at_a_size_it_refuses():
    with torch.device("meta"):
        model = timm.create_model("vit_tiny_patch16_224")
    with pytest.raises(UsageError, match="cannot count VisionTransformer"):
        count(model, (3, 32, 32))


def test_counting_changes_nothing():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten()).train()
    before = copy.deepcopy(model.state_dict())
    profile(model, 8)
    assert model.training
    assert all(not module._forward_hooks for module in model.modules())
    for key, value in model.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, before[key])
