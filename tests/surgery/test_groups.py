"""Inner groups of small timm networks of several families: what is found can be cut, and nothing else notices."""

import copy
from unittest import mock

import numpy as np
import pytest
import torch
from small import SIZE, SMALL, chain, images, teacher
from torch_pruning import DependencyGraph

from distilnas.surgery.cut import cut
from distilnas.surgery.groups import InnerGroup

FOLLOW = DependencyGraph.get_pruning_group
MODELS = {  # groups in each unit's kind, by the paper of each family
    "mobilenetv2_050": 1,
    "mobilenetv3_small_050": 2,
    "resnet18": 1,
    "resnet26": 2,
    "regnety_002": 2,
    "convnext_atto": 1,
    "convnextv2_atto": 1,
    "vit_tiny_patch16_224": 2,
    "swin_tiny_patch4_window7_224": 2,
}


@pytest.fixture(scope="module", params=MODELS)
def cut_in_half(request):
    model = teacher(request.param, **SMALL.get(request.param, {}))
    return request.param, model, chain(model)


def test_body_units_have_the_family_s_groups(cut_in_half):
    name, _, units = cut_in_half
    assert max(len(unit.groups) for unit in units[1:-1]) == MODELS[name]


def test_only_channels_that_stay_in_a_unit_are_followed():
    """Those of a stream through many reshaped maps took minutes."""
    with mock.patch.object(DependencyGraph, "get_pruning_group", autospec=True, side_effect=FOLLOW) as follow:
        units = chain(teacher("convnext_atto"))
    classifier = 1
    assert follow.call_count == classifier + sum(len(unit.groups) for unit in units)


def test_units_in_a_row_are_the_network(cut_in_half):
    _, model, units = cut_in_half
    x = images(2)
    with torch.no_grad():
        expected = model(x)
        for unit in units:
            x = unit.module(x)
            assert tuple(x.shape[1:]) == unit.out_shape
        assert torch.equal(x, expected)


def test_every_group_can_be_cut_and_borders_stay(cut_in_half):
    _, _, units = cut_in_half
    for unit in units:
        module = unit.copy()
        for group in unit.groups:
            cut(module, group, range(group.options((0.5,))[-1]))
        with torch.no_grad():
            assert module(unit.example()).shape[1:] == unit.out_shape
        fewer = sum(p.numel() for p in module.parameters()) < sum(p.numel() for p in unit.module.parameters())
        assert fewer == any(len(group.options((0.5,))) > 1 for group in unit.groups)


def test_cutting_elements_whose_readers_ignore_them_changes_nothing(cut_in_half):
    """Where all layers that read an element have zero weights for it, the unit gives the same without it."""
    name, _, units = cut_in_half
    if name == "convnextv2_atto":
        pytest.skip("its global response norm compares a channel with all others")
    for unit in units:
        for group in unit.groups:
            module, gone = unit.copy(), np.arange(1, group.elements, 2)
            for read in group.read:
                with torch.no_grad():
                    module.get_submodule(read.path).weight[:, read.index[gone].ravel()] = 0
            smaller = copy.deepcopy(module)
            cut(smaller, group, np.arange(0, group.elements, 2))
            x = torch.randn(2, *unit.in_shape)
            with torch.no_grad():
                torch.testing.assert_close(smaller(x), module(x), rtol=1e-4, atol=1e-4)


def test_regnet_is_cut_by_whole_convolution_groups():
    units = chain(teacher("regnety_002"))
    group = next(group for unit in units for group in unit.groups if group.width > 1)
    assert group.channels == group.elements * 8
    assert any(part.axis == "group" for part in group.made)
    assert group.read[-1].path.endswith("conv3.conv")
    assert any(read.path.endswith("se.fc1") for read in group.read[:-1])


def test_options_are_multiples_of_eight_and_distinct():
    group = InnerGroup(name="a", elements=36, width=1, made=(), read=())
    assert group.options((1.0, 0.75, 0.5, 0.375, 0.25, 0.1)) == (36, 24, 16, 8)
    whole = InnerGroup(name="a", elements=5, width=16, made=(), read=())
    assert whole.options((0.5, 0.1)) == (5, 2, 1)


def test_what_is_only_read_elsewhere_is_no_inner_group():
    """ResNet's block outputs stay; so do those of the stem."""
    model = teacher("resnet18")
    names = {group.name for unit in chain(model, SIZE) for group in unit.groups}
    assert names == {f"layer{stage}.{unit}.conv1" for stage in (1, 2, 3, 4) for unit in (0, 1)}
