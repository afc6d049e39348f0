"""A network of its parent's parts: kept it is the parent, to the bit; timm's methods against timm's on the parent."""

from typing import Any

import pytest
import small_chains as small
import timm
import torch
from torch import nn

from distilnas.errors import UsageError
from distilnas.networks import ChainNet
from distilnas.networks.chain import fingerprint, text_of
from distilnas.networks.parent import Parent
from distilnas.networks.plan import Skip

PARENTS = pytest.mark.parametrize("parent", [small.RESNET, small.VIT], ids=["resnet", "vit"])


@PARENTS
@torch.no_grad()
def test_kept_it_is_the_parent_bit_for_bit(parent: Parent) -> None:
    model, chain = small.model_of(parent), small.chain_of(parent)
    for batch in (1, 2):
        assert torch.equal(chain(small.images(batch)), model(small.images(batch)))
    assert sum(p.numel() for p in chain.parameters()) == sum(p.numel() for p in model.parameters())
    assert sorted(map(_own, chain.state_dict())) == sorted(model.state_dict())


@PARENTS
@torch.no_grad()
def test_timms_methods(parent: Parent) -> None:
    model: Any = small.model_of(parent)
    chain = small.chain_of(parent)
    x = small.images()
    features = chain.forward_features(x)
    assert torch.equal(chain.forward_head(features), model(x))
    expected = model.forward_head(model.forward_features(x), pre_logits=True)
    assert torch.equal(chain.forward_head(features, pre_logits=True), expected)
    assert chain.num_features == model.num_features
    assert torch.equal(chain.get_classifier().weight, model.get_classifier().weight)
    chain.reset_classifier(0)
    assert torch.equal(chain(x), expected)
    assert chain.num_features == model.num_features
    chain.reset_classifier(7)
    assert chain(x).shape == (2, 7)
    assert chain.num_classes == 7


def test_both_heads_of_a_distilled_vit_are_its_classifier() -> None:
    parent = Parent(
        model="deit_tiny_distilled_patch16_224",
        model_kwargs={"img_size": 64, "embed_dim": 24, "depth": 2, "num_heads": 2},
        num_classes=3,
        image_shape=(3, 64, 64),
        borders=small.VIT.borders[:1],
    )
    chain = small.chain_of(parent)
    chain.reset_classifier(5)
    assert chain(small.images()).shape == (2, 5)


@torch.no_grad()
def test_features_are_maps_of_the_blocks() -> None:
    model, chain = small.model_of(small.VIT), small.chain_of(small.VIT)
    x = small.images()
    maps = chain.features(x)
    assert [tuple(m.shape) for m in maps] == [(2, 24, 4, 4)] * 3
    tokens = model.blocks[:2](model._pos_embed(model.patch_embed(x)))  # type: ignore[operator,index]
    assert torch.equal(maps[1], tokens[:, 1:].transpose(1, 2).reshape(2, 24, 4, 4))
    assert len(chain.feature_info) == 1


@torch.no_grad()
def test_intermediates_are_timms_features() -> None:
    model = timm.create_model("resnet10t", num_classes=3, features_only=True, out_indices=(1, 2, 3, 4)).eval()
    chain = small.chain_of(small.RESNET)
    model.load_state_dict(small.model_of(small.RESNET).state_dict(), strict=False)
    x = small.images()
    assert [info["reduction"] for info in chain.feature_info] == [4, 8, 16, 32]
    last, maps = chain.forward_intermediates(x)
    for own, expected in zip(maps, model(x), strict=True):
        torch.testing.assert_close(own, expected)
    assert torch.equal(last, maps[-1])
    (two,) = chain.forward_intermediates(x, indices=[1], intermediates_only=True, stop_early=True)
    assert torch.equal(two, maps[1])
    assert len(chain.forward_intermediates(x, indices=2, intermediates_only=True)) == 2
    with pytest.raises(UsageError, match="NCHW"):
        chain.forward_intermediates(x, output_fmt="NLC")


def test_a_copy_trains_and_the_parent_does_not_move() -> None:
    model = small.model_of(small.RESNET)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    chain = ChainNet.kept(small.RESNET, model).train()
    optimizer = torch.optim.SGD(chain.parameters(), lr=0.1)
    chain(small.images()).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    changed = [key for key, value in chain.state_dict().items() if not torch.equal(value, before[_own(key)])]
    assert len(changed) == len(before)


def _own(key: str) -> str:
    return key.split(".", 2)[2] if key.startswith("blocks.") else key.removeprefix("head.")


def test_the_description_tells_what_was_done_to_each_part() -> None:
    kept, cut = small.chain_of(small.RESNET).describe(), small.cut_resnet().describe()
    assert text_of(kept) == "parent resnet10t | kept | kept | kept | kept | kept | kept"
    assert text_of(cut) == "parent resnet10t | kept | skip | cut | linear | kept | kept"
    sizes = cut["blocks"][2]["sizes"]
    assert sizes == {
        "layer2.0.conv1": {"out_channels": 64},
        "layer2.0.bn1": {"num_features": 64},
        "layer2.0.conv2": {"in_channels": 64},
    }
    assert fingerprint(kept) != fingerprint(cut)
    assert fingerprint(cut) == fingerprint(small.cut_resnet().describe())


def test_a_part_of_another_make_is_refused() -> None:
    chain = small.chain_of(small.RESNET)
    chain.blocks[1] = nn.Conv2d(64, 64, 1)
    with pytest.raises(UsageError, match="one of parent, linear, cell, skip, pooled; a Conv2d can't be stored"):
        chain.describe()


def test_a_network_of_ones_own_is_described_with_itself_at_hand() -> None:
    own = Parent(model=None, num_classes=3, image_shape=(3, 64, 64), borders=small.RESNET.borders)
    model = small.model_of(small.RESNET)
    chain = ChainNet.kept(own, model)
    chain.blocks[1] = Skip()
    assert text_of(chain.describe(model)) == "parent own network | kept | skip | kept | kept | kept | kept"
    with pytest.raises(UsageError, match="a network of your own"):
        chain.describe()
