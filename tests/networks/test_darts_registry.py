"""DARTS networks through timm: registry, features, classifier; and the published facts."""

from typing import Any

import pytest
import timm
import torch

from distilnas.errors import UsageError
from distilnas.networks.darts import DartsNet, genotype_names, published_architecture, published_genotype
from distilnas.space.darts import DartsArchitecture, parse_genotype

SMALL = "darts imagenet 8x6 ; N: s3-0 s3-1 | sk-0 d3-2 ; R: mp-0 mp-1 | sk-2 mp-1"


def test_the_published_names_are_registered():
    assert set(genotype_names()) == {
        "darts_v1", "darts_v2", "p_darts", "pc_darts_cifar", "pc_darts_imagenet", "ista_nas"
    }  # fmt: skip
    for name in genotype_names():
        model: Any = timm.create_model(name, width=4, num_cells=3)
        assert isinstance(model, DartsNet)
        assert model.num_classes == 1000
        assert model.architecture == published_architecture(name, width=4, num_cells=3)
        assert model.pretrained_cfg["input_size"] == (3, 224, 224)


def test_variants_bring_their_defaults():
    model: Any = timm.create_model("darts_v2", variant="cifar10", width=4)
    assert (model.num_classes, model.architecture.num_cells, model.architecture.stem) == (10, 20, "cifar")
    assert model.pretrained_cfg["input_size"] == (3, 32, 32)
    assert model.pretrained_cfg["mean"] == pytest.approx((0.4914, 0.4822, 0.4465), abs=1e-4)
    assert dict(model.named_modules())[model.pretrained_cfg["first_conv"]].in_channels == 3
    other: Any = timm.create_model("darts_v2", variant="cifar10", width=4, num_cells=3, num_classes=7, in_chans=1)
    assert other.eval()(torch.rand(2, 1, 32, 32)).shape == (2, 7)
    assert timm.models.get_pretrained_cfg("darts_v2").input_size == (3, 224, 224)  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="unknown variant 'cifar'; did you mean 'cifar10'"):
        timm.create_model("darts_v2", variant="cifar")
    with pytest.raises(UsageError, match="darts_v2 has no weights to download"):
        timm.create_model("darts_v2", pretrained=True, width=4, num_cells=3)


def test_any_architecture_by_text_and_object():
    for architecture in (SMALL, DartsArchitecture.parse(SMALL)):
        model: Any = timm.create_model("distilnas_darts", architecture=architecture, num_classes=5, drop_path_rate=0.2)
        assert str(model.architecture) == SMALL
        assert model.drop_path_rate == 0.2
        first = dict(model.named_modules())[model.pretrained_cfg["first_conv"]]
        assert first.in_channels == 3


@pytest.mark.parametrize(
    ("text", "channels", "reductions", "modules"),
    [
        (SMALL, [4, 8, 16, 32, 64], [2, 4, 8, 16, 32], ["stem0.act", "stem0", "cells.1", "cells.3", "cells.5"]),
        (SMALL.replace("imagenet", "cifar"), [16, 32, 64], [1, 2, 4], ["cells.1", "cells.3", "cells.5"]),
        # cell 3, the last of its resolution, is dead: cell 2 stands for it
        ("darts cifar 8x6 ; s3-1;s3-1;s3-1;s3-0;s3-0;s3-1", [8, 16, 32], [1, 2, 4], ["cells.1", "cells.2", "cells.5"]),
    ],
)
def test_features_have_the_promised_channels_and_reductions(text, channels, reductions, modules):
    model: Any = timm.create_model("distilnas_darts", architecture=text, features_only=True).eval()
    assert model.feature_info.channels() == channels
    assert model.feature_info.reduction() == reductions
    assert model.feature_info.module_name() == modules
    maps = model(torch.rand(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (c, 64 // r, 64 // r) for c, r in zip(channels, reductions, strict=True)
    ]


def test_timms_methods():
    model = DartsNet(DartsArchitecture.parse(SMALL), num_classes=5, drop_rate=0.5, auxiliary=True).double().eval()
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    features = model.forward_features(images)
    assert features.shape == (2, model.num_features, 2, 2)
    torch.testing.assert_close(model.forward_head(features), model(images))
    assert model.forward_head(features, pre_logits=True).shape == (2, 64)
    assert model.get_classifier() is model.classifier
    model.train()
    assert not torch.equal(model.forward_head(features), model.forward_head(features))  # dropout
    model.eval().reset_classifier(7)
    assert model.num_classes == 7
    assert [logits.shape for logits in model.forward_with_auxiliary(images)] == [(2, 7), (2, 7)]
    model.reset_classifier(0)
    assert torch.equal(model(images), model.forward_head(features, pre_logits=True))
    model.reset_classifier(4, global_pool="max")
    torch.testing.assert_close(model.forward_head(features, pre_logits=True), features.amax(dim=(2, 3)))


def test_published_genotypes():
    """Two genotypes as the repositories of DARTS and PC-DARTS print them."""
    first_order = (
        "DARTS_V1 = Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), "
        "('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], "
        "normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
        "('max_pool_3x3', 0), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], "
        "reduce_concat=[2, 3, 4, 5])"
    )
    pc_darts = (
        "PC_DARTS_image = Genotype(normal=[('skip_connect', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 0), "
        "('skip_connect', 1), ('sep_conv_3x3', 1), ('sep_conv_3x3', 3), ('sep_conv_3x3', 1), ('dil_conv_5x5', 4)], "
        "normal_concat=range(2, 6), reduce=[('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_5x5', 2), "
        "('max_pool_3x3', 1), ('sep_conv_3x3', 2), ('sep_conv_3x3', 1), ('sep_conv_5x5', 0), ('sep_conv_3x3', 3)], "
        "reduce_concat=range(2, 6))"
    )
    assert published_genotype("darts_v1").genotype == parse_genotype(first_order)
    assert published_genotype("pc_darts_imagenet").genotype == parse_genotype(pc_darts)
    with pytest.raises(UsageError, match="unknown genotype 'darts_v3'; did you mean 'darts_v"):
        published_genotype("darts_v3")


def test_published_results():
    """Top-1 errors in percent: the papers' tables."""
    errors = {
        name: {variant: result.top1_error for variant, result in published_genotype(name).published.items()}
        for name in genotype_names()
    }
    assert errors == {
        "darts_v1": {"cifar10": 3.00},
        "darts_v2": {"cifar10": 2.76, "imagenet": 26.7},
        "p_darts": {"cifar10": 2.50, "imagenet": 24.4},
        "pc_darts_cifar": {"cifar10": 2.57, "imagenet": 25.1},
        "pc_darts_imagenet": {"imagenet": 24.2},
        "ista_nas": {"cifar10": None},
    }
    for name in genotype_names():
        entry = published_genotype(name)
        assert "arXiv" in entry.source
        assert all(result.source for result in entry.published.values())
